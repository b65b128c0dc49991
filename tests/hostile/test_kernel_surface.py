"""What of the kernel and the root file system hostile code can reach. Tests try the thing; none reads the profile."""

from __future__ import annotations

import platform

import pytest

from sandbox import Sandbox
from tests.hostile.runs import CALL, run, works

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module")]
numbered = pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers of system calls are x86-64's")


@numbered
@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("ptrace", 101), ("mount", 165), ("umount2", 166), ("pivot_root", 155), ("chroot", 161), ("reboot", 169),
        ("init_module", 175), ("finit_module", 313), ("delete_module", 176), ("kexec_load", 246), ("kexec_file_load", 320),
        ("add_key", 248), ("request_key", 249), ("keyctl", 250), ("unshare", 272), ("setns", 308), ("bpf", 321),
        ("perf_event_open", 298), ("process_vm_readv", 310), ("process_vm_writev", 311), ("process_madvise", 440),
        ("userfaultfd", 323), ("io_uring_setup", 425), ("io_uring_enter", 426), ("io_uring_register", 427),
        ("open_tree", 428), ("move_mount", 429), ("fsopen", 430), ("fsmount", 432), ("mount_setattr", 442),
        ("pidfd_getfd", 438), ("kcmp", 312), ("name_to_handle_at", 303), ("open_by_handle_at", 304), ("quotactl", 179),
        ("swapon", 167), ("acct", 163), ("settimeofday", 164), ("clock_settime", 227), ("sethostname", 170),
        ("iopl", 172), ("ioperm", 173), ("syslog", 103), ("fanotify_init", 300), ("vhangup", 153), ("memfd_secret", 447),
        ("modify_ldt", 154), ("mbind", 237), ("move_pages", 279), ("lookup_dcookie", 212),
    ],
)  # fmt: skip
async def test_system_calls_into_the_kernels_depths_are_refused(sandbox: Sandbox, name: str, number: int) -> None:
    """Case 32."""
    text, _ = await run(sandbox, f"{CALL}\nprint(call({number}, 0, 0, 0, 0, 0))")

    assert text == "Operation not permitted\n"


@numbered
async def test_a_new_user_namespace_is_refused_by_every_door(sandbox: Sandbox) -> None:
    """Case 32: clone, clone3 and unshare."""
    code = f"{CALL}\nprint(call(56, 0x10000000 | 17, 0, 0, 0, 0))\nprint(call(435, 0, 0))\nprint(call(272, 0x10000000))"

    text, _ = await run(sandbox, code)

    assert text.splitlines() == ["Operation not permitted", "Function not implemented", "Operation not permitted"]


INT80 = """
import ctypes, mmap
page = mmap.mmap(-1, 4096, prot=7)
page.write(b'\\xb8\\x14\\0\\0\\0\\xcd\\x80\\xc3')
print(ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))())
"""


@numbered
@pytest.mark.parametrize("code", [INT80, f"{CALL}\nprint(call(0x40000000 | 39))"], ids=["i386", "x32"])
async def test_no_second_table_of_system_calls_leads_past_the_filter(sandbox: Sandbox, code: str) -> None:
    """Case 32: even getpid, which is allowed, ends the process or is refused by another table."""
    text, end = await run(sandbox, code)

    assert text in ("", "Operation not permitted\n")
    assert end.status == "crashed" or text
    assert await works(sandbox)


async def test_only_three_socket_families_open(sandbox: Sandbox) -> None:
    """Case 32: AF_ALG, AF_PACKET, AF_VSOCK and AF_NETLINK are not among them; nor with bits that the kernel cuts off."""
    code = f"""{CALL}
families = set()
for family in range(0, 64):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET):
        for make in (socket.socket, lambda *a: socket.socketpair(*a)[0]):
            try:
                make(family, kind).close()
                families.add(family)
            except OSError:
                pass
print(sorted(families))
print(call(41, 38 | (1 << 32), 5, 0))
"""
    text, _ = await run(sandbox, code)

    assert text == "[1, 2, 10]\nOperation not permitted\n"


@pytest.mark.parametrize("process", ["self", "1"])
async def test_no_process_has_a_capability_or_lacks_the_filter(sandbox: Sandbox, process: str) -> None:
    """Case 31: neither the code nor the supervisor."""
    text, _ = await run(sandbox, f"grep -E '^(Cap|NoNewPrivs|Seccomp:|Uid|Gid)' /proc/{process}/status", "bash")

    none = "0000000000000000"
    assert dict(line.split(maxsplit=1) for line in text.splitlines()) == {
        "Uid:": "\t".join(["65532"] * 4), "Gid:": "\t".join(["65532"] * 4),
        "CapInh:": none, "CapPrm:": none, "CapEff:": none, "CapBnd:": none, "CapAmb:": none,
        "NoNewPrivs:": "1", "Seccomp:": "2",
    }  # fmt: skip


WRITE = """
import os
def attempt(what, act):
    try:
        act()
        print('did', what)
    except OSError:
        pass
for folder in ('/', '/etc', '/usr', '/usr/bin', '/lib', '/opt/threadbox', '/root', '/home', '/var', '/run', '/sys', '/proc', '/proc/sys', '/dev'):
    attempt(folder, lambda: open(folder + '/x', 'w'))
    attempt(folder, lambda: os.mkdir(folder + '/y'))
    attempt(folder, lambda: os.symlink('x', folder + '/z'))
    attempt(folder, lambda: os.chmod(folder, 0o777))
for path in ('/etc/passwd', '/etc/hosts', '/etc/resolv.conf', '/etc/hostname', '/usr/bin/env', '/opt/threadbox/threadbox_inside/kernel.py'):
    for name in (path, f'/proc/self/root{path}', f'/proc/self/fd/{os.open(path, os.O_RDONLY)}', f'/proc/self/fd/{os.open(path, os.O_PATH)}'):
        attempt(name, lambda: os.open(name, os.O_WRONLY))
        attempt(name, lambda: os.truncate(name, 0))
        attempt(name, lambda: os.utime(name))
    attempt(path, lambda: os.unlink(path))
    attempt(path, lambda: os.rename(path, '/workspace/x'))
    attempt(path, lambda: os.link(path, '/workspace/y'))
"""
READ_ONLY = ["/", "/etc", "/usr", "/lib", "/opt", "/var", "/etc/hosts", "/etc/resolv.conf", "/etc/hostname", "/sys", "/proc/sys"]  # fmt: skip


async def test_nothing_of_the_root_can_be_written_by_any_name(sandbox: Sandbox) -> None:
    """Case 26: nor through /proc/self/root or an open descriptor; and every mount says so itself."""
    text, end = await run(sandbox, WRITE)
    flags, _ = await run(
        sandbox, f"import os\nprint([p for p in {READ_ONLY} if not os.statvfs(p).f_flag & os.ST_RDONLY])"
    )

    assert (text, end.status) == ("", "ok")
    assert flags == "[]\n"


async def test_the_only_places_to_write_are_its_own(sandbox: Sandbox) -> None:
    """Cases 26, 33: every file and folder of the container was looked at."""
    text, _ = await run(
        sandbox, "find / -path /proc -prune -o -writable ! -type l ! -path '/workspace/*' -print 2>/dev/null", "bash"
    )

    devices = {f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts/ptmx")}
    assert set(text.split()) - devices == {"/workspace", "/tmp", "/dev/shm", "/dev/mqueue"}


async def test_no_block_device_no_socket_of_the_engine_and_no_host_is_inside(sandbox: Sandbox) -> None:
    """Case 33."""
    text, _ = await run(
        sandbox,
        "find / -path /proc -prune -o \\( -type b -o -type s -o -name 'docker*.sock' \\) -print 2>/dev/null; ls -A /home /mnt /media /srv",
        "bash",
    )

    assert [line for line in text.split() if not line.endswith(":")] == []


PROC = ["/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/vm/panic_on_oom", "/proc/kcore",
        "/proc/kmsg", "/proc/sys/fs/binfmt_misc/register", "/proc/irq/default_smp_affinity", "/proc/bus/pci", "/sys/kernel/uevent_helper",
        "/sys/power/state", "/sys/fs/cgroup/release_agent", "/sys/fs/cgroup/memory/release_agent", "/sys/fs/cgroup/cgroup.procs",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/pids.max", "/proc/self/oom_score_adj_min"]  # fmt: skip


async def test_the_switches_of_the_kernel_cannot_be_opened_for_writing(sandbox: Sandbox) -> None:
    """Case 33."""
    code = f"import os\nfor path in {PROC}:\n  try: os.open(path, os.O_WRONLY); print(path)\n  except OSError: pass"
    everywhere = "find /proc/sys /proc/irq /proc/bus /proc/fs /sys -writable 2>/dev/null"

    text, _ = await run(sandbox, code)
    found, _ = await run(sandbox, everywhere, "bash")

    assert (text, found) == ("", "")


@pytest.mark.parametrize(
    "path",
    [
        "/proc/kcore",
        "/proc/keys",
        "/proc/timer_list",
        "/proc/sched_debug",
        "/proc/kmsg",
        "/sys/firmware",
        "/proc/acpi",
        "/proc/scsi",
    ],
)
async def test_what_tells_of_the_host_is_empty_or_closed(sandbox: Sandbox, path: str) -> None:
    """Case 33."""
    text, _ = await run(sandbox, f"(ls -A {path}/. || head -c 100 {path}) 2>/dev/null", "bash")

    assert text == ""


async def test_no_privilege_can_be_had_from_files(sandbox: Sandbox) -> None:
    """Case 30: setuid of one's own and of root's, devices, mounts, owners."""
    code = """
cp $(command -v id) mine; chmod 6755 mine; ./mine -u
mount -t tmpfs none /tmp; mount -o remount,rw /; mount --bind /etc /workspace; umount /workspace
mknod disk b 8 0; mknod memory c 1 1; mknod zero c 1 5
chown 0 mine; chgrp 0 mine; chown 0:0 /workspace
setcap cap_sys_admin+ep mine
for f in $(find / -xdev -perm -4000 -type f 2>/dev/null); do echo root | timeout 2 $f -c 'id -u' root </dev/null; done | grep -x 0
find . ! -uid 65532 -o -type b -o -type c
id -u; touch / 2>&1 | grep -o 'Read-only file system\\|Permission denied'
"""
    text, _ = await run(sandbox, f"({code}) 2>/dev/null", "bash")

    assert text.split("\n")[:2] == ["65532", "65532"]
    assert text.splitlines()[2] in ("Read-only file system", "Permission denied")


async def test_there_is_no_network_at_all(sandbox: Sandbox) -> None:
    """Cases 35, 36 as far as the one mode there is."""
    code = """
import socket
for address in (('1.1.1.1', 443), ('169.254.169.254', 80), ('172.17.0.1', 2375), ('10.0.0.1', 80), ('2606:4700::1111', 443)):
    try: socket.create_connection(address, 1); print('connected', address)
    except OSError: pass
    try: socket.socket(socket.AF_INET6 if ':' in address[0] else socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', address); print('sent', address)
    except OSError: pass
try: socket.getaddrinfo('example.org', 80); print('resolved')
except OSError: pass
print([line.split(':')[0].strip() for line in open('/proc/net/dev') if ':' in line])
"""
    text, _ = await run(sandbox, code)

    assert text == "['lo']\n"
