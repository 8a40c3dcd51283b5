//! The container of a process, from its control groups and mounts.
//!
//! | Where | Looks like |
//! |---|---|
//! | cgroup v1 | `4:memory:/docker/<id>`, `…:/kubepods/besteffort/pod<uid>/<id>` |
//! | cgroup v1 and v2 under systemd | `0::/system.slice/docker-<id>.scope`, `…/cri-containerd-<id>.scope`, `…/crio-<id>.scope`, `…/libpod-<id>.scope` |
//! | containerd without systemd | `…/system.slice:docker:…`, `…:cri-containerd:<id>` |
//! | cgroup v2 with its own namespace | `0::/`: the id is only in `mountinfo`, in the host's path of `/etc/hostname` |
//!
//! An id is 64 lower-case hexadecimal digits.

/// The id in `/proc/<pid>/cgroup`: that of the innermost container.
pub(crate) fn id_of_cgroup(text: &str) -> Option<&str> {
    text.lines()
        .filter_map(|line| line.splitn(3, ':').nth(2))
        .find_map(last_id)
}

/// The id in `/proc/<pid>/mountinfo`: the host's path of a file that every runtime mounts from the container's own
/// directory (`/var/lib/docker/containers/<id>/hostname`, `…/overlay-containers/<id>/userdata/hostname`).
pub(crate) fn id_of_mounts(text: &str) -> Option<&str> {
    let paths = text.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(3);
        let (root, mount_point) = (fields.next()?, fields.next()?);
        matches!(
            mount_point,
            "/etc/hostname" | "/etc/resolv.conf" | "/etc/hosts" | "/run/.containerenv"
        )
        .then_some(root)
    });
    let own = |path: &&str| path.contains("containers/");
    paths.filter(own).find_map(last_id)
}

/// The path of the process in the unified hierarchy; where that says nothing, in the first that does.
pub(crate) fn cgroup_path(text: &str) -> Option<&str> {
    let paths = || text.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    let unified = text.lines().find_map(|line| line.strip_prefix("0::"));
    unified
        .filter(|p| *p != "/")
        .or_else(|| paths().find(|p| *p != "/"))
        .or_else(|| paths().next())
}

/// The last path component with an id in it: as a whole, behind `-` or `:`, before `.scope`.
fn last_id(path: &str) -> Option<&str> {
    path.rsplit('/').find_map(|component| {
        let component = component.strip_suffix(".scope").unwrap_or(component);
        let id = component.rsplit(['-', ':']).next().unwrap_or(component);
        is_id(id).then_some(id)
    })
}

fn is_id(text: &str) -> bool {
    text.len() == 64
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "3f1c0e0a9b8d7c6f5e4d3c2b1a09f8e7d6c5b4a3928170615243342516071829";
    const B: &str = "aaaa0e0a9b8d7c6f5e4d3c2b1a09f8e7d6c5b4a3928170615243342516071829";

    /// Text of /proc/<pid>/cgroup with `A` and `B` for ids, container id, path.
    #[test]
    fn control_groups() {
        for (text, id, path) in [
            (
                "12:pids:/docker/A\n11:memory:/docker/A\n0::/",
                Some("A"),
                "/docker/A",
            ),
            (
                "0::/system.slice/docker-A.scope",
                Some("A"),
                "/system.slice/docker-A.scope",
            ),
            (
                "0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-A.scope",
                Some("A"),
                "/kubepods.slice/kubepods-pod1.slice/cri-containerd-A.scope",
            ),
            (
                "0::/machine.slice/libpod-A.scope/container",
                Some("A"),
                "/machine.slice/libpod-A.scope/container",
            ),
            (
                "3:cpu:/kubepods/besteffort/pod1-2/A",
                Some("A"),
                "/kubepods/besteffort/pod1-2/A",
            ),
            (
                "1:name=systemd:/system.slice/containerd.service/kubepods-pod1.slice:cri-containerd:A",
                Some("A"),
                "/system.slice/containerd.service/kubepods-pod1.slice:cri-containerd:A",
            ),
            ("0::/docker/A/docker/B", Some("B"), "/docker/A/docker/B"),
            (
                "0::/user.slice/user-1000.slice/session-1.scope",
                None,
                "/user.slice/user-1000.slice/session-1.scope",
            ),
            ("0::/", None, "/"),
            ("5:cpu:/\n1:name=systemd:/init.scope", None, "/init.scope"),
        ] {
            let fill = |t: &str| t.replace('A', A).replace('B', B);
            let text = fill(text);
            assert_eq!(id_of_cgroup(&text).map(str::to_owned), id.map(fill), "{text}");
            assert_eq!(cgroup_path(&text), Some(fill(path).as_str()), "{text}");
        }
        assert_eq!(cgroup_path(""), None);
    }

    #[test]
    fn mounts() {
        let line =
            |root: &str| format!("712 700 254:1 {root} /etc/hostname rw,relatime - ext4 /dev/vda1 rw\n");
        let other = format!("1 2 0:3 /docker/containers/{B}/x /data rw - ext4 /dev/vda1 rw\n");
        for (root, id) in [
            (format!("/var/lib/docker/containers/{A}/hostname"), Some(A)),
            (
                format!("/containers/storage/overlay-containers/{A}/userdata/hostname"),
                Some(A),
            ),
            ("/etc/hostname".to_owned(), None),
            (format!("/var/lib/kubelet/pods/{A}/etc-hosts"), None),
        ] {
            assert_eq!(id_of_mounts(&(other.clone() + &line(&root))), id, "{root}");
        }
        assert_eq!(id_of_mounts("garbage\n\n1 2"), None);
    }
}
