//! BPF filters, compiled once for each link type that is met.

use crate::packet::LinkType;

use super::CaptureError;

/// A filter expression as tcpdump understands it, applied to the outer headers.
pub struct Filter {
    expression: String,
    #[cfg(feature = "live")]
    programs: Vec<(LinkType, Option<::pcap::BpfProgram>)>,
}

impl std::fmt::Debug for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Filter").field(&self.expression).finish()
    }
}

impl Filter {
    /// The expression as given.
    pub fn expression(&self) -> &str {
        &self.expression
    }
}

#[cfg(not(feature = "live"))]
impl Filter {
    /// Filters need libpcap.
    ///
    /// # Errors
    /// Always [`CaptureError::FilterUnavailable`].
    pub fn new(_expression: &str) -> Result<Self, CaptureError> {
        Err(CaptureError::FilterUnavailable)
    }

    /// Never called: there is no filter without libpcap.
    pub(super) fn accepts(&mut self, _link_type: LinkType, _data: &[u8]) -> Result<bool, String> {
        Err(CaptureError::FilterUnavailable.to_string())
    }
}

#[cfg(feature = "live")]
impl Filter {
    /// Checks the expression against common link types.
    ///
    /// # Errors
    /// [`CaptureError::Filter`] if it holds for none of them.
    pub fn new(expression: &str) -> Result<Self, CaptureError> {
        let filter = Self { expression: expression.to_owned(), programs: Vec::new() };
        let refused = |reason| CaptureError::Filter { expression: expression.to_owned(), reason };
        let ethernet = filter.compile(LinkType::ETHERNET).err();
        let Some(reason) = ethernet else { return Ok(filter) };
        // Words like `type mgt` hold for other link types only.
        if [LinkType::IEEE802_11_RADIOTAP, LinkType::RAW, LinkType::LINUX_SLL]
            .iter()
            .any(|link| filter.compile(*link).is_ok())
        {
            return Ok(filter);
        }
        Err(refused(reason))
    }

    /// Whether a frame passes; the error, once for each link type, says why the filter does not apply to it.
    pub(super) fn accepts(&mut self, link_type: LinkType, data: &[u8]) -> Result<bool, String> {
        if let Some((_, program)) = self.programs.iter().find(|(known, _)| *known == link_type) {
            return Ok(program.as_ref().is_some_and(|program| program.filter(data)));
        }
        // At most 65,536 link types exist, and captures have few.
        match self.compile(link_type) {
            Ok(program) => {
                let passes = program.filter(data);
                self.programs.push((link_type, Some(program)));
                Ok(passes)
            }
            Err(reason) => {
                self.programs.push((link_type, None));
                Err(reason)
            }
        }
    }

    fn compile(&self, link_type: LinkType) -> Result<::pcap::BpfProgram, String> {
        // libpcap numbers raw IP by its own platform, files by the registry.
        let number = if link_type == LinkType::RAW { LinkType::RAW_BSD } else { link_type };
        let dead = ::pcap::Capture::dead(::pcap::Linktype(i32::from(number.0))).map_err(|error| error.to_string())?;
        dead.compile(&self.expression, true).map_err(|error| error.to_string())
    }
}
