//! `tuning/apply.sh` and `revert.sh`, in a network namespace of their own: nothing of the
//! machine is changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::{forget_settings, text};

const TUNING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tuning");
const PORTS: &str = "net/ipv4/ip_local_port_range";
const SYN: &str = "net/ipv4/tcp_max_syn_backlog";

/// Runs shell text as root of a namespace, in which `apply` and `revert` are the scripts with
/// their files in `folder`.
fn in_namespace(folder: &Path, script: &str) -> Output {
    let text = format!(
        "set -eu; cd {folder}\n\
         PROGRAM={program}\n\
         apply() {{\n\
           sh {TUNING}/apply.sh --state {folder}/state --limits-file {folder}/limits.conf \\\n\
             --program $PROGRAM \"$@\"\n\
         }}\n\
         revert() {{ sh {TUNING}/revert.sh --state {folder}/state \"$@\"; }}\n\
         show() {{ tr '\\t' ' ' < /proc/sys/{PORTS}; cat /proc/sys/{SYN}; }}\n\
         {script}",
        folder = folder.display(),
        program = env!("CARGO_BIN_EXE_alarmcast"),
    );
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--net", "sh", "-c", &text]);
    forget_settings(&mut command);
    command.stdin(Stdio::null()).output().expect("unshare, of util-linux")
}

fn folder(settings: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_owned();
    fs::write(path.join("settings"), settings).expect("written");
    (folder, path)
}

fn lines(output: &Output) -> Vec<String> {
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout).lines().map(str::to_owned).collect()
}

const BOTH: &str = "sysctl net.ipv4.ip_local_port_range 10240 65535\n\
                    sysctl net.ipv4.tcp_max_syn_backlog 4096\n\
                    limit nofile 26624\n";

#[test]
fn what_is_applied_is_reverted() {
    let (_guard, folder) = folder(BOTH);
    let output = in_namespace(
        &folder,
        "echo 40000 50000 > /proc/sys/net/ipv4/ip_local_port_range\n\
         echo 77 > /proc/sys/net/ipv4/tcp_max_syn_backlog\n\
         apply --settings settings > applied; show; cat limits.conf\n\
         apply --settings settings | grep -v 'former values' > again || true\n\
         revert > reverted; show; ls limits.conf state 2>/dev/null || echo gone\n\
         revert",
    );
    let lines = lines(&output);
    let applied = ["10240 65535", "4096", "* - nofile 26624"];
    assert_eq!(lines[..3], applied, "{lines:?}");
    assert_eq!(lines[3..6], ["40000 50000", "77", "gone"], "{lines:?}");
    assert!(lines[6].starts_with("nothing to restore"), "{lines:?}");
    let said = |name: &str| fs::read_to_string(folder.join(name)).expect("written");
    assert!(said("applied").contains("net.ipv4.tcp_max_syn_backlog: 77 -> 4096\n"));
    assert!(said("applied").contains("net.ipv4.ip_local_port_range: 40000 50000 -> 10240 65535\n"));
    assert!(said("reverted").contains("net.ipv4.tcp_max_syn_backlog: 4096 -> 77\n"));
    assert_eq!(said("again"), "", "a second time changes nothing");
}

#[test]
fn a_second_target_keeps_the_first_values() {
    let (_guard, folder) = folder("");
    let output = in_namespace(
        &folder,
        "echo 77 > /proc/sys/net/ipv4/tcp_max_syn_backlog\n\
         for value in 4096 8192; do\n\
           echo \"sysctl net.ipv4.tcp_max_syn_backlog $value\n limit nofile $value\" |\n\
             apply --settings - > /dev/null\n\
         done\n\
         cat /proc/sys/net/ipv4/tcp_max_syn_backlog limits.conf\n\
         revert > /dev/null; cat /proc/sys/net/ipv4/tcp_max_syn_backlog; ls",
    );
    assert_eq!(lines(&output), ["8192", "* - nofile 8192", "77", "settings"]);
}

#[test]
fn a_dry_run_changes_nothing_and_needs_no_root() {
    let (_guard, folder) = folder(BOTH);
    let dry = "apply --dry-run --settings settings > dry; show; ls; cat dry";
    let output = in_namespace(&folder, &format!("show; {dry}"));
    let lines = lines(&output);
    assert_eq!(lines[..2], lines[2..4], "nothing has changed");
    assert_eq!(lines[4..6], ["dry", "settings"], "nothing is left");
    assert!(lines[6..].iter().any(|line| line.ends_with(" -> 10240 65535")), "{lines:?}");

    let nobody = |arguments: &[&str]| {
        let mut command = Command::new("unshare");
        // A user without a name in it, who is nobody.
        command.args(["--user", "sh"]).args(arguments).stdin(Stdio::null());
        command.output().expect("unshare, of util-linux")
    };
    for script in ["apply.sh", "revert.sh"] {
        let path = format!("{TUNING}/{script}");
        let output = nobody(&[&path]);
        assert_eq!(output.status.code(), Some(1), "{script}");
        assert!(text(&output.stderr).contains("must be root"), "{}", text(&output.stderr));
    }
    let output = nobody(&[&format!("{TUNING}/apply.sh"), "--dry-run", "--settings", "/dev/null"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn what_doctor_advises_is_what_is_applied() {
    let (_guard, folder) = folder("");
    let output = in_namespace(
        &folder,
        "echo 50000 50099 > /proc/sys/net/ipv4/ip_local_port_range\n\
         apply --dry-run --connections 1000\n\
         $PROGRAM doctor --settings --connections 1000 | grep ip_local > settings\n\
         apply --settings settings > /dev/null\n\
         $PROGRAM doctor --settings --connections 1000 | grep ip_local || echo content",
    );
    let lines = lines(&output);
    let change = "net.ipv4.ip_local_port_range: 50000 50099 -> 10240 65535";
    assert!(lines.iter().any(|line| line == change), "{lines:?}");
    assert_eq!(lines.last().map(String::as_str), Some("content"), "{lines:?}");
}

#[test]
fn what_is_not_understood_is_refused() {
    for settings in ["sysctl ../../etc/passwd x", "limit nofile many", "limit cpu 1", "reboot"] {
        let (_guard, folder) = folder(settings);
        let output = in_namespace(&folder, "apply --settings settings");
        assert_eq!(output.status.code(), Some(1), "{settings}");
        assert!(text(&output.stderr).starts_with("apply.sh: "), "{}", text(&output.stderr));
    }
    let (_guard, folder) = folder("limit nofile 26624");
    let output = in_namespace(&folder, "echo mine > limits.conf; apply --settings settings");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(fs::read_to_string(folder.join("limits.conf")).expect("there"), "mine\n");
}
