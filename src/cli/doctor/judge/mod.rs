//! Judges readings for a target. Nothing is read here.

mod descriptors;
mod interfaces;
mod kernel;
mod memory;
mod network;
mod processor;
#[cfg(test)]
mod tests;

use super::finding::Finding;
use super::host::Host;
use super::target::Target;

/// One finding for each setting that matters, the worst first.
pub fn judge(host: &Host, target: &Target) -> Vec<Finding> {
    let mut findings = kernel::judge(&host.kernel, target);
    findings.extend(descriptors::judge(&host.descriptors, target));
    findings.extend(memory::judge(&host.memory, &host.cgroup, target));
    findings.extend(network::judge(&host.network, &host.memory, target));
    findings.extend(interfaces::judge(host));
    findings.extend(processor::judge(&host.processor, &host.cgroup, target));
    // Stable: within a severity they stay together by what they are about.
    findings.sort_by_key(|finding| finding.severity);
    findings
}

/// As people read it.
fn bytes(bytes: u64) -> String {
    const MIB: f64 = 1024.0 * 1024.0;
    let mib = bytes as f64 / MIB;
    if mib >= 1024.0 { format!("{:.1} GiB", mib / 1024.0) } else { format!("{mib:.0} MiB") }
}
