import java.io.InputStream;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.util.List;
import javax.net.ssl.SNIHostName;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLSocket;

/** Client ADDRESS HOST VERSION trust|distrust COUNT: one JSSE client; "trust" takes the roots from the file named by TRUST. */
public class Client {
    public static void main(String[] args) throws Exception {
        if (args[3].equals("trust")) {
            System.setProperty("javax.net.ssl.trustStore", System.getenv("TRUST"));
            System.setProperty("javax.net.ssl.trustStorePassword", "changeit");
        }
        SSLContext context = SSLContext.getDefault();
        for (int i = 0; i < Integer.parseInt(args[4]); i++) {
            try (Socket plain = new Socket()) {
                plain.connect(new InetSocketAddress(args[0], 443), 5000);
                SSLSocket tls = (SSLSocket) context.getSocketFactory().createSocket(plain, args[1], 443, true);
                tls.setEnabledProtocols(new String[] {args[2]});
                SSLParameters parameters = tls.getSSLParameters();
                parameters.setServerNames(List.of(new SNIHostName(args[1])));
                parameters.setEndpointIdentificationAlgorithm("HTTPS");
                tls.setSSLParameters(parameters);
                tls.setSoTimeout(5000);
                tls.startHandshake();
                tls.getOutputStream().write(("GET / HTTP/1.0\r\nHost: " + args[1] + "\r\n\r\n").getBytes());
                InputStream in = tls.getInputStream();
                while (in.read() >= 0) { }
                tls.close();
            } catch (Exception e) {
                System.out.println(e);
            }
        }
    }
}
