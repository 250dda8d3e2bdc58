"""rewind as a managed plugin on a real Docker engine.

Goal: what a user does with Docker's own commands works, and what must be refused is refused in words.
Method: one engine for all cases, started and stopped by this program, with the plugin made by scripts/plugin-create.sh
from the built binary. Cases use volumes and containers of their own names. `python3 docker_test.py -v [Class.test_case]`
runs one; needs root.
"""

import json
import os
import sys
import time
import unittest

import images
import leftovers
from case import NamedCase
from engine import BINARY, Engine, say

ENGINE: Engine = None
docker = None


def setUpModule():
    global ENGINE, docker
    leftovers.exit_on_signals()
    ENGINE = Engine()
    unittest.addModuleCleanup(ENGINE.close)
    docker = ENGINE.docker
    NamedCase.docker = staticmethod(docker)
    began = time.monotonic()
    ENGINE.start()
    images.make(ENGINE)
    ENGINE.create_plugin()
    say(f"engine, images and plugin are up after {time.monotonic() - began:.1f} s, in {ENGINE.directory}")


def instant():
    """This moment, between what happened before and what happens after."""
    time.sleep(0.002)
    now = time.time_ns()
    time.sleep(0.002)
    return f"@{now // 10**9}.{now % 10**9:09d}"


def create(name, **options):
    """`docker volume create`; snapshot_of="x" becomes -o snapshot-of=x."""
    arguments = []
    for key, value in options.items():
        arguments += ["-o", f"{key.replace('_', '-')}={value}"]
    return docker("volume", "create", "-d", "rewind", *arguments, name)


def status(name):
    return json.loads(docker("volume", "inspect", name).stdout)[0].get("Status") or {}


class Case(NamedCase):
    patience = 20

    def volume(self, suffix="v", **options):
        name = self.name(suffix)
        create(name, **options)
        return name

    def run_in(self, volume, script, *arguments, image="box", check=True):
        """Runs a shell script in a new container that has `volume` at /v; returns what it printed."""
        result = docker("run", "--rm", "--network", "none", "--name", self.name(f"run-{time.time_ns()}"), "-v",
                        f"{volume}:/v", *arguments, image, "/bin/sh", "-c", script, check=check)
        return result.stdout if check else result

    def keep_running(self, volume, script, suffix="c", *arguments):
        container = self.name(suffix)
        docker("run", "-d", "--network", "none", "--name", container, "-v", f"{volume}:/v", *arguments, "box",
               "/bin/sh", "-c", script)
        return container

    def refuse(self, *arguments, words):
        """`docker …` fails with one line that has all of `words`."""
        result = docker(*arguments, check=False)
        self.assertNotEqual(result.returncode, 0, f"docker {arguments} was accepted")
        error = result.stderr.strip()
        for word in words:
            self.assertIn(word.lower(), error.lower())
        return error


class StoryTest(Case):
    """Ordinary volumes, snapshots, clones, rollbacks."""

    def test_keeps_what_is_written(self):
        volume = self.volume()
        self.assertEqual(self.run_in(volume, "ls -A /v"), "", "a new volume reads as empty")
        self.run_in(volume, "echo one >/v/a && mkdir /v/d && echo two >/v/d/b && sync")
        self.assertEqual(self.run_in(volume, "cat /v/a /v/d/b"), "one\ntwo\n")

    def test_anonymous_volume(self):
        # `docker run -v new:/x --volume-driver` sends null options.
        name = self.name("made-by-run")
        docker("run", "--rm", "--network", "none", "--volume-driver", "rewind", "-v", f"{name}:/v", "box", "/bin/sh",
               "-c", "echo hello >/v/a")
        self.assertEqual(self.run_in(name, "cat /v/a"), "hello\n")

    def test_snapshot_shows_the_past(self):
        volume = self.volume()
        self.run_in(volume, "echo before >/v/a; echo kept >/v/b")
        then = instant()
        self.run_in(volume, "echo after >/v/a; rm /v/b; echo new >/v/c")
        snapshot = self.volume("snap", snapshot_of=volume, at=then)
        self.assertEqual(self.run_in(snapshot, "cd /v; ls; cat a b"), "a\nb\nbefore\nkept\n")
        self.assertEqual(self.run_in(volume, "cd /v; ls; cat a c"), "a\nc\nafter\nnew\n")
        self.assertEqual(status(snapshot).get("role"), "snapshot")

    def test_snapshot_is_read_only(self):
        volume = self.volume()
        self.run_in(volume, "echo x >/v/a")
        snapshot = self.volume("snap", snapshot_of=volume)
        for script in ("echo y >/v/a", "echo y >/v/new", "rm /v/a", "mkdir /v/d", "chmod 777 /v/a", "mv /v/a /v/b"):
            result = self.run_in(snapshot, script, check=False)
            self.assertNotEqual(result.returncode, 0, script)
            self.assertIn("Read-only file system", result.stderr, script)
        self.assertEqual(self.run_in(snapshot, "ls /v; cat /v/a"), "a\nx\n")

    def test_clone_is_a_writable_copy(self):
        volume = self.volume()
        self.run_in(volume, "echo one >/v/a")
        then = instant()
        self.run_in(volume, "echo two >/v/a")
        clone = self.volume("clone", clone_of=volume, at=then)
        self.assertEqual(self.run_in(clone, "cat /v/a; echo clone >>/v/a; cat /v/a"), "one\none\nclone\n")
        self.assertEqual(self.run_in(volume, "cat /v/a"), "two\n")
        self.run_in(volume, "echo three >/v/a")
        self.assertEqual(self.run_in(clone, "cat /v/a"), "one\nclone\n")

    def test_clone_outlives_its_source(self):
        volume = self.volume()
        self.run_in(volume, "dd if=/dev/urandom of=/v/a bs=64k count=20 2>/dev/null")
        digest = self.run_in(volume, "md5sum </v/a")
        clone = self.volume("clone", clone_of=volume)
        docker("volume", "rm", volume)
        self.assertEqual(self.run_in(clone, "md5sum </v/a"), digest)

    def test_rollback_and_undo(self):
        volume = self.volume()
        self.run_in(volume, "echo good >/v/a; mkdir /v/d; echo x >/v/d/x")
        then = instant()
        self.run_in(volume, "echo mistake >/v/a; rm -r /v/d")
        before = self.volume("before", rollback=volume, at=then)
        self.assertEqual(self.run_in(volume, "cat /v/a /v/d/x"), "good\nx\n")
        self.assertEqual(self.run_in(before, "cat /v/a; ls /v"), "mistake\na\n")
        # Undo: roll back again, to just before the first rollback, by the instant that the pre-rollback volume shows.
        again = self.volume("before-undo", rollback=volume, at=status(before)["shows"])
        self.assertEqual(self.run_in(volume, "cat /v/a; ls /v"), "mistake\na\n")
        self.assertEqual(self.run_in(again, "cat /v/a"), "good\n")
        # And the volume goes on from there.
        self.run_in(volume, "echo later >>/v/a")
        self.assertEqual(self.run_in(volume, "cat /v/a"), "mistake\nlater\n")

    def test_same_at_is_one_moment_on_all_volumes(self):
        one, two = self.volume("one"), self.volume("two")
        container = self.keep_running(one, "i=0; while :; do i=$((i+1)); echo $i >/v/t; mv /v/t /v/n; echo $i >/w/t; "
                                      "mv /w/t /w/n; done", "c", "-v", f"{two}:/w")
        self.eventually(lambda: docker("exec", container, "/bin/cat", "/w/n"))
        moments = []
        for _ in range(5):
            time.sleep(0.2)
            moments.append(instant())
        docker("rm", "-f", container)
        # The counter in `two` follows the one in `one`: at any instant it is equal or one behind.
        for number, then in enumerate(moments):
            first = self.volume(f"one-{number}", snapshot_of=one, at=then)
            second = self.volume(f"two-{number}", snapshot_of=two, at=then)
            behind = int(self.run_in(first, "cat /v/n")) - int(self.run_in(second, "cat /v/n"))
            self.assertIn(behind, (0, 1), then)

    def test_time_folder_in_the_mount(self):
        volume = self.volume()
        self.run_in(volume, "echo old >/v/a")
        then = instant()
        self.run_in(volume, "echo new >/v/a")
        self.assertEqual(self.run_in(volume, f"cat /v/.rewind/{then}/a; cat /v/a; ls -A /v"), "old\nnew\na\n")

    def test_inspect_tells_the_facts(self):
        volume = self.volume()
        self.run_in(volume, "echo x >/v/a")
        facts = status(volume)
        self.assertEqual(facts.get("role"), "volume")
        self.assertLess(facts["history_from"], facts["history_to"])
        self.assertGreater(facts["history_bytes"], 0)
        self.assertEqual(facts["live_bytes"], 2)
        container = self.keep_running(volume, "exec sleep 1000")
        # The engine mounts with an ID of its own making, so it is only known that there is one.
        self.assertEqual(len(status(volume)["mounted_by"]), 1, container)
        docker("rm", "-f", container)
        self.assertEqual(status(volume)["mounted_by"], [])


class ContainersTest(Case):
    def test_image_contents_are_copied_up(self):
        volume = self.volume()
        self.run_in(volume, "true", image="box")
        # Not the directories' times: the engine fills them after it has set those.
        list_all = ("cd {0} && find . | sort | while read -r f; do stat -c '%n %F %a %u %g %h' \"$f\"; "
                    "[ -d \"$f\" ] || stat -c '%s %Y' \"$f\"; [ -L \"$f\" ] && readlink \"$f\"; "
                    "[ -f \"$f\" ] && md5sum \"$f\"; done; true")
        expected = docker("run", "--rm", "--network", "none", "seeded", "/bin/sh", "-c",
                          list_all.format("/seed")).stdout
        container = self.name("copied")
        docker("create", "--network", "none", "--name", container, "-v", f"{volume}:/seed", "seeded", "/bin/true")
        self.assertEqual(self.run_in(volume, list_all.format("/v")), expected)
        self.assertIn("setuid regular file 4755", expected)
        self.assertEqual(self.run_in(volume, "stat -c %i /v/plain; stat -c %i /v/linked").split()[0::2],
                         self.run_in(volume, "stat -c %i /v/linked").split(), "a hard link is one inode")
        # Extended attributes: from outside, as busybox cannot show them.
        directory = self.name("look")
        path = os.path.join(ENGINE.directory, directory)
        os.mkdir(path)
        ENGINE.rewind("mount", volume, path)
        try:
            self.assertEqual(os.getxattr(f"{path}/plain", "user.colour"), b"blue")
            self.assertEqual(os.getxattr(f"{path}/linked", "user.colour"), b"blue")
            self.assertEqual(os.getxattr(f"{path}/deep", "user.kind"), b"deep")
        finally:
            ENGINE.rewind("umount", path)

    def test_copy_up_happens_once(self):
        volume = self.volume()
        self.run_in(volume, "echo mine >/v/plain")
        docker("create", "--network", "none", "--name", self.name("c"), "-v", f"{volume}:/seed", "seeded", "/bin/true")
        self.assertEqual(self.run_in(volume, "ls /v; cat /v/plain"), "plain\nmine\n")

    def test_two_containers_on_one_volume(self):
        volume = self.volume()
        writer = self.keep_running(volume, "while :; do date +%N >>/v/log; sleep 0.05; done", "writer")
        reader = self.keep_running(volume, "exec sleep 1000", "reader")

        def count():
            lines = docker("exec", reader, "/bin/wc", "-l", "/v/log").stdout.split()
            self.assertGreater(int(lines[0]), 5)
            return int(lines[0])
        seen = self.eventually(count)
        docker("rm", "-f", writer)
        self.assertGreaterEqual(count(), seen)
        docker("exec", reader, "/bin/sh", "-c", "echo still >/v/other")  # the other container keeps the mount
        self.assertEqual(self.run_in(volume, "cat /v/other"), "still\n")
        docker("rm", "-f", reader)
        self.assertEqual([path for path in ENGINE.volume_mounts() if volume in path], [])

    def test_the_log_says_which_container_wrote(self):
        volume = self.volume()
        containers = {}
        for name in ("first", "second"):
            container = self.keep_running(volume, f"echo text >/v/{name}; exec sleep 1000", name)
            containers[f"/{name}"] = docker("inspect", "-f", "{{.Id}}", container).stdout.strip()

        def logged():
            lines = ENGINE.rewind("log", volume, "--json").stdout.splitlines()
            created = [line for line in map(json.loads, lines) if line["event"] == "create"]
            self.assertEqual({line["path"]: line.get("container") for line in created}, containers)
        self.eventually(logged)
        # By its name, too, for as long as the engine knows it.
        engine = ("--docker-socket", ENGINE.host.removeprefix("unix://"))

        def named():
            lines = map(json.loads, ENGINE.rewind("log", volume, "--json", *engine).stdout.splitlines())
            return {line["path"]: line.get("container_name") for line in lines if line["event"] == "create"}
        first, second = self.name("first"), self.name("second")
        self.assertEqual(named(), {"/first": first, "/second": second})
        docker("rm", "-f", first)
        self.assertEqual(named(), {"/first": None, "/second": second})
        text = ENGINE.rewind("log", volume, *engine).stdout
        self.assertIn(f"container {second} ({containers['/second'][:12]}))", text)
        self.assertIn(f"container {containers['/first'][:12]})", text)
        absent = ENGINE.rewind("log", volume, "--docker-socket", "/no/such.sock").stdout
        self.assertIn(f"container {containers['/second'][:12]})", absent)

    def test_an_archive_goes_out_and_in(self):
        volume = self.volume()
        self.run_in(volume, "mkdir /v/d && echo text >/v/d/file && ln -s file /v/d/link && chown -R 12:34 /v/d")
        archive = os.path.join(ENGINE.directory, self.name("tar"))
        self.addCleanup(os.unlink, archive)
        ENGINE.rewind("export", volume, "-o", archive)
        copy = self.name("copy")
        ENGINE.rewind("import", copy, archive)
        self.assertEqual(self.run_in(copy, "cat /v/d/link; stat -c %u:%g /v/d/file"), "text\n12:34\n")

    def test_what_was_forgotten_is_gone_from_snapshots(self):
        volume = self.volume()
        self.run_in(volume, "echo secret >/v/key && sync")
        snapshot = self.volume("then", snapshot_of=volume)
        self.run_in(volume, "rm /v/key")
        self.assertEqual(self.run_in(snapshot, "cat /v/key"), "secret\n")
        ENGINE.rewind("forget", volume, "/key")
        self.assertIn("No data available", self.run_in(snapshot, "cat /v/key", check=False).stderr)

    def test_lock_is_seen_by_the_other_container(self):
        volume = self.volume()
        holder = self.keep_running(volume, "exec flock /v/lock sleep 1000", "holder")
        self.eventually(lambda: self.assertEqual(self.run_in(volume, "ls /v"), "lock\n"))
        attempt = "flock -n /v/lock true || echo refused"
        self.eventually(lambda: self.assertEqual(self.run_in(volume, attempt), "refused\n"))
        docker("rm", "-f", holder)
        self.assertEqual(self.run_in(volume, attempt), "")

    def test_locks_of_all_kinds_are_seen_by_the_other_container(self):
        volume = self.volume()
        # fcntl(2) with F_SETLK (POSIX) and F_OFD_SETLK; struct flock: write, from 0, 10 bytes.
        lock = (r"open F, '+>>', '/v/lock'; \$l = pack('s s x4 q q l x4', 1, 0, 0, 10, 0); "
                r"fcntl(F, {}, \$l) or exit 7;")
        for command in (6, 37):
            with self.subTest(command=command):
                hold = f'exec perl -e "{lock.format(command)} print STDERR qq(locked\\n); sleep 1000"'
                holder = self.keep_running(volume, hold, f"holder{command}")
                self.eventually(lambda holder=holder: self.assertEqual(docker("logs", holder).stderr, "locked\n"))
                for other in (6, 37):
                    attempt = f'perl -e "{lock.format(other)}"; echo $?'
                    self.assertEqual(self.run_in(volume, attempt), "7\n")
                docker("rm", "-f", holder)
                self.assertEqual(self.run_in(volume, f'perl -e "{lock.format(command)}"; echo $?'), "0\n")

    def test_mounts_allow_what_the_volume_was_made_for(self):
        flags = "grep ' /v ' /proc/mounts | cut -d' ' -f4"
        plain = self.run_in(self.volume("plain"), flags).split(",")
        self.assertIn("nosuid", plain)
        self.assertIn("nodev", plain)
        allowed = self.run_in(self.volume("allowed", mount="suid,dev"), flags).split(",")
        self.assertNotIn("nosuid", allowed)
        self.assertNotIn("nodev", allowed)
        self.refuse("volume", "create", "-d", "rewind", "-o", "mount=everything", self.name("bad"),
                    words=["mount=", "suid, dev"])

    def test_a_volume_holds_no_more_than_its_size(self):
        volume = self.volume(size="1M")
        said = self.run_in(volume, "dd if=/dev/zero of=/v/a bs=64k count=17; stat -c %s /v/a; df -k /v | tail -1",
                           check=False)
        self.assertIn("No space left on device", said.stderr)
        self.assertIn("1048576", said.stdout)
        self.assertIn(" 1024 ", said.stdout)
        self.assertEqual(self.run_in(volume, "rm /v/a && dd if=/dev/zero of=/v/b bs=64k count=16 2>&1 | grep -c full"
                                     " || true"), "0\n")

    def test_docker_cp_leaves_a_running_container_its_volume(self):
        # docker cp sends Mount and Unmount with the container's own ID (moby/moby#34665).
        volume = self.volume()
        container = self.keep_running(volume, "while :; do echo tick >>/v/log || exit 9; sleep 0.05; done")
        here = os.path.join(ENGINE.directory, "into")
        with open(here, "w") as file:
            file.write("from outside\n")
        for _ in range(3):
            docker("cp", here, f"{container}:/v/into")
            docker("cp", f"{container}:/v/into", here + ".back")
            with open(here + ".back") as file:
                self.assertEqual(file.read(), "from outside\n")
        self.assertEqual(docker("exec", container, "/bin/cat", "/v/into").stdout, "from outside\n")
        before = int(docker("exec", container, "/bin/wc", "-l", "/v/log").stdout.split()[0])

        def still_writes():
            after = int(docker("exec", container, "/bin/wc", "-l", "/v/log").stdout.split()[0])
            self.assertGreater(after, before + 5)
        self.eventually(still_writes)
        self.assertEqual(docker("inspect", "--format", "{{.State.Running}}", container).stdout.strip(), "true")
        self.refuse("volume", "rm", volume, words=["in use"])
        # Into a container that does not run, too.
        docker("stop", "-t", "0", container)
        docker("cp", here, f"{container}:/v/into-stopped")
        self.assertEqual(self.run_in(volume, "cat /v/into-stopped"), "from outside\n")

    def test_container_restart(self):
        volume = self.volume()
        container = self.keep_running(volume, "echo start >>/v/log; exec sleep 1000")
        self.eventually(lambda: self.assertEqual(self.run_in(volume, "cat /v/log"), "start\n"))
        for _ in range(2):
            docker("restart", "-t", "0", container)
        docker("kill", container)
        docker("start", container)
        self.eventually(lambda: self.assertEqual(self.run_in(volume, "cat /v/log"), "start\n" * 4))

    def test_non_root_container(self):
        volume = self.volume("owned", uid=1500, gid=1600, mode="0750")
        self.assertEqual(self.run_in(volume, "stat -c '%u %g %a' /v"), "1500 1600 750\n")
        script = "id -u; echo mine >/v/a && mkdir /v/d && chmod 700 /v/d && echo x >/v/d/x && stat -c '%u %g' /v/a /v/d"
        self.assertEqual(self.run_in(volume, script, "--user", "1500:1600"), "1500\n1500 1600\n1500 1600\n")
        other = self.run_in(volume, "ls /v", "--user", "1700:1700", check=False)
        self.assertIn("Permission denied", other.stderr)
        # A new volume belongs to root, as Docker's own do; nobody else may write.
        mine = self.volume("root-owned")
        self.assertEqual(self.run_in(mine, "stat -c '%u %g %a' /v"), "0 0 755\n")
        self.assertIn("Permission denied", self.run_in(mine, "echo >/v/a", "--user", "1500", check=False).stderr)

    def test_removal(self):
        volume = self.volume()
        container = self.keep_running(volume, "exec sleep 1000")
        self.refuse("volume", "rm", volume, words=["in use"])
        self.refuse("volume", "rm", "-f", volume, words=["in use"])
        docker("rm", "-f", container)
        docker("volume", "rm", volume)
        self.assertNotIn(volume, docker("volume", "ls", "-q").stdout.split())
        # The same name again is a new and empty volume.
        self.volume()
        self.assertEqual(self.run_in(volume, "ls -A /v"), "")

    def test_a_removed_volume_can_still_be_cloned(self):
        volume = self.volume()
        self.run_in(volume, "echo precious >/v/a")
        docker("volume", "rm", volume)
        removed = json.loads(ENGINE.rewind("ls", "--removed", "--json").stdout)
        self.assertIn(volume, [item["name"] for item in removed])
        clone = self.volume("clone", clone_of=volume)
        self.assertEqual(self.run_in(clone, "cat /v/a"), "precious\n")
        ENGINE.rewind("purge", volume)
        self.refuse("volume", "create", "-d", "rewind", "-o", f"clone-of={volume}", self.name("bad"), words=[volume])
        self.assertEqual(self.run_in(clone, "cat /v/a"), "precious\n")

    def test_removal_while_the_command_line_has_it(self):
        # The engine does not know of this user: the plugin has to say no.
        volume = self.volume()
        path = os.path.join(ENGINE.directory, "cli-mount")
        os.makedirs(path, exist_ok=True)
        ENGINE.rewind("mount", volume, path)
        try:
            self.refuse("volume", "rm", volume, words=[volume, "mounted by"])
            with open(f"{path}/a", "w") as file:
                file.write("through the command line\n")
            self.assertEqual(self.run_in(volume, "cat /v/a"), "through the command line\n")
        finally:
            ENGINE.rewind("umount", path)
        docker("volume", "rm", volume)


class BadInputTest(Case):
    """Each is refused in one line that says what is accepted, and leaves nothing behind."""

    def refused_options(self):
        volume = self.volume("v")
        snapshot = self.volume("snap", snapshot_of=volume)
        return volume, [
            # what, options, words that the error has
            ("unknown option", ["colour=red"],
             ["colour", "snapshot-of", "clone-of", "rollback", "at", "uid", "gid", "mode", "size", "mount"]),
            ("help", ["help="], ["snapshot-of", "clone-of", "rollback", "at"]),
            ("snapshot and clone", [f"snapshot-of={volume}", f"clone-of={volume}"], ["at most one", "clone-of"]),
            ("snapshot and rollback", [f"snapshot-of={volume}", f"rollback={volume}", "at=1s"], ["at most one"]),
            ("all three", [f"snapshot-of={volume}", f"clone-of={volume}", f"rollback={volume}"], ["at most one"]),
            ("at alone", ["at=10m"], ["at", "snapshot-of"]),
            ("rollback without at", [f"rollback={volume}"], ["rollback", "at="]),
            ("unknown source", ["snapshot-of=no-such-volume"], ["no-such-volume"]),
            ("unknown source of a clone", ["clone-of=no-such-volume", "at=now"], ["no-such-volume"]),
            ("unknown volume to roll back", ["rollback=no-such-volume", "at=now"], ["no-such-volume"]),
            ("before the first instant", [f"snapshot-of={volume}", "at=2001-01-01T00:00:00Z"], ["20"]),
            ("long ago", [f"clone-of={volume}", "at=3650d"], ["20"]),
            ("in the future", [f"snapshot-of={volume}", "at=2200-01-01T00:00:00Z"], ["future"]),
            ("not a time", [f"snapshot-of={volume}", "at=yesterday"], ["yesterday", "RFC 3339"]),
            ("no zone", [f"snapshot-of={volume}", "at=2026-11-22T17:31:00"], ["zone"]),
            ("empty time", [f"snapshot-of={volume}", "at="], ["at"]),
            ("rollback of a snapshot", [f"rollback={snapshot}", "at=now"], [snapshot, "snapshot"]),
            ("mode that is not octal", ["mode=rwx"], ["octal"]),
            ("uid that is a name", ["uid=postgres"], ["uid", "number"]),
            ("retention that is no duration", ["retention=a day"], ["retention", "duration", "24h"]),
            ("keep that is no schedule", ["keep=often"], ["keep", "hourly:7d,daily:60d"]),
            ("points shorter than the range", ["retention=24h", "keep=hourly:12h"], ["hourly:12h", "longer"]),
            ("history limit of nothing", ["history-limit=0"], ["history-limit", "20G"]),
            ("retention of a snapshot", [f"snapshot-of={volume}", "retention=1h"], ["new volumes and clones"]),
        ]

    def test_options(self):
        _, table = self.refused_options()
        before = sorted(docker("volume", "ls", "-q").stdout.split())
        known = sorted(item["name"] for item in json.loads(ENGINE.rewind("ls", "--json").stdout))
        for what, options, words in table:
            with self.subTest(what):
                arguments = [part for option in options for part in ("-o", option)]
                error = self.refuse("volume", "create", "-d", "rewind", *arguments, self.name("bad"), words=words)
                if what != "help":
                    self.assertEqual(len(error.splitlines()), 1, error)
        self.assertEqual(sorted(docker("volume", "ls", "-q").stdout.split()), before)
        self.assertEqual(sorted(item["name"] for item in json.loads(ENGINE.rewind("ls", "--json").stdout)), known)

    def test_error_names_the_first_instant_kept(self):
        volume = self.volume()
        error = self.refuse("volume", "create", "-d", "rewind", "-o", f"snapshot-of={volume}", "-o", "at=@1000000000",
                            self.name("bad"), words=[])
        found = [word.strip(".,;:()") for word in error.split() if word.startswith("20") and word.rstrip(".,;:()").endswith("Z")]
        self.assertTrue(found, error)
        # And that instant is accepted.
        self.volume("first", snapshot_of=volume, at=found[-1])

    def test_names(self):
        for what, name in [("slash", "a/b"), ("parent", ".."), ("control character", "a\tb"), ("too long", "n" * 256),
                           ("much too long", "n" * 10_000), ("absolute", "/etc")]:
            with self.subTest(what):
                error = self.refuse("volume", "create", "-d", "rewind", name, words=["name"])
                self.assertEqual(len(error.splitlines()), 1, error)
        known = [item["name"] for item in json.loads(ENGINE.rewind("ls", "--json").stdout)]
        self.assertEqual([name for name in known if "/" in name or len(name) > 255 or name == ".."], [])

    def test_longest_name(self):
        name = (self.prefix + "n" * 255)[:255]
        docker("volume", "create", "-d", "rewind", name)
        self.assertEqual(self.run_in(name, "echo x >/v/a; cat /v/a"), "x\n")

    def test_rollback_while_mounted(self):
        volume = self.volume()
        then = instant()
        container = self.keep_running(volume, "echo x >/v/a; exec sleep 1000")
        self.eventually(lambda: self.assertEqual(docker("exec", container, "/bin/cat", "/v/a").stdout, "x\n"))
        error = self.refuse("volume", "create", "-d", "rewind", "-o", f"rollback={volume}", "-o", f"at={then}",
                            self.name("bad"), words=[volume, "mounted by"])
        self.assertEqual(len(error.splitlines()), 1, error)
        self.assertEqual(docker("exec", container, "/bin/cat", "/v/a").stdout, "x\n")

    def test_same_name_other_options(self):
        # The engine does not forward Create for a name that it knows, so this speaks to the daemon as the engine does
        # after it lost its own record.
        volume = self.volume(uid=1000)
        self.assertEqual(ENGINE.rewind("create", volume, "-o", "uid=1000").returncode, 0)
        result = ENGINE.rewind("create", volume, "-o", "uid=1001", check=False)
        self.assertNotEqual(result.returncode, 0)
        self.assertEqual(len(result.stderr.strip().splitlines()), 1, result.stderr)
        self.assertIn(volume, result.stderr)

    def test_raw_requests(self):
        for endpoint, body in [("/VolumeDriver.Create", ""), ("/VolumeDriver.Create", "{"), ("/VolumeDriver.Create", "[]"),
                               ("/VolumeDriver.Create", '{"Name": 5}'), ("/VolumeDriver.Create", "{}"),
                               ("/VolumeDriver.Mount", ""), ("/VolumeDriver.Remove", "null"),
                               ("/VolumeDriver.Get", '{"Name": null}'), ("/VolumeDriver.Create", "[" * 100_000),
                               ("/VolumeDriver.Nonsense", "{}"), ("/nonsense", "{}")]:
            with self.subTest(endpoint + " " + body[:20]):
                error = ENGINE.ask(endpoint, body)["Err"]
                self.assertTrue(error)
                self.assertEqual(len(error.splitlines()), 1, error)
        self.assertEqual(ENGINE.ask("/VolumeDriver.Capabilities", "{}")["Capabilities"]["Scope"], "local")


class LifeTest(Case):
    """Restarts of the engine and of the plugin. The last cases: they disturb everybody else's."""

    def test_engine_restart(self):
        volume = self.volume()
        self.run_in(volume, "echo one >/v/a")
        then = instant()
        self.run_in(volume, "echo two >/v/a")
        snapshot = self.volume("snap", snapshot_of=volume, at=then)
        labelled = self.name("labelled")
        docker("volume", "create", "-d", "rewind", "--label", "keep=me", labelled)
        container = self.keep_running(volume, "echo run >>/v/runs; exec sleep 1000", "c", "--restart", "always")
        ENGINE.restart()
        self.assertEqual(self.run_in(volume, "cat /v/a"), "two\n")
        self.assertEqual(self.run_in(snapshot, "cat /v/a"), "one\n")
        self.eventually(lambda: self.assertEqual(self.run_in(volume, "cat /v/runs"), "run\nrun\n"))
        kept = json.loads(docker("volume", "inspect", labelled).stdout)[0]["Labels"]
        self.assertEqual(kept, {"keep": "me"}, "the engine forgets a volume that its driver denies at start")
        docker("rm", "-f", container)
        before = self.volume("before", rollback=volume, at=then)
        self.assertEqual(self.run_in(volume, "cat /v/a"), "one\n")
        self.assertEqual(self.run_in(before, "cat /v/a"), "two\n")

    def test_plugin_disable_and_enable(self):
        volume = self.volume()
        self.run_in(volume, "echo one >/v/a")
        then = instant()
        self.run_in(volume, "echo two >/v/a")
        for _ in range(2):
            began = time.monotonic()
            docker("plugin", "disable", "-f", "rewind")
            self.assertLess(time.monotonic() - began, 9, "the daemon ends before it is killed")
            self.assertEqual(ENGINE.volume_mounts(), [])
            self.assertNotEqual(docker("run", "--rm", "--network", "none", "--name", self.name("no"), "-v",
                                       f"{volume}:/v", "box", "/bin/true", check=False, timeout=180).returncode, 0)
            docker("plugin", "enable", "rewind")
            self.assertEqual(self.run_in(volume, "cat /v/a"), "two\n")
        self.assertEqual(self.run_in(self.volume("snap", snapshot_of=volume, at=then), "cat /v/a"), "one\n")

    def test_plugin_replaced_by_a_new_build(self):
        volume = self.volume()
        self.run_in(volume, "echo one >/v/a")
        container = self.keep_running(volume, "exec sleep 1000")
        refusal = ENGINE.script("plugin-create.sh", "--binary", BINARY, check=False)
        self.assertNotEqual(refusal.returncode, 0)
        self.assertIn(container, refusal.stdout)
        self.assertEqual(docker("exec", container, "/bin/cat", "/v/a").stdout, "one\n")
        docker("rm", "-f", container)
        ENGINE.script("plugin-create.sh", "--binary", BINARY)
        self.assertEqual(self.run_in(volume, "cat /v/a"), "one\n")
        settings = docker("plugin", "inspect", "--format", "{{.Settings.Env}}{{range .Settings.Mounts}} {{.Source}}{{end}}",
                          "rewind").stdout
        self.assertIn("REWIND_LOG_LEVEL=debug", settings, "settings are kept")
        self.assertIn(ENGINE.data, settings, "the data directory is kept")

    def test_plugin_config_is_what_the_engine_understood(self):
        # The engine drops what it does not know without a word.
        plugin = json.loads(docker("plugin", "inspect", "rewind").stdout)[0]
        config = plugin["Config"]
        self.assertEqual(config["Interface"]["Socket"], "rewind.sock")
        self.assertEqual(config["PropagatedMount"], "/mnt/rewind")
        self.assertEqual(config["Linux"]["Capabilities"], ["CAP_SYS_ADMIN"])
        self.assertEqual([device["Path"] for device in config["Linux"]["Devices"]], ["/dev/fuse"])
        self.assertEqual(config["Network"]["Type"], "none")
        self.assertTrue(config["PidHost"])
        self.assertEqual([mount["Name"] for mount in config["Mounts"]], ["data"])
        self.assertEqual(config["Mounts"][0]["Settable"], ["source"])
        for setting in config["Env"]:
            self.assertEqual(setting["Settable"], ["value"], setting["Name"])
            self.assertTrue(setting["Value"], "each has a default: an upgrade adds none")

    def test_zz_uninstall_leaves_nothing_mounted(self):
        volume = self.volume()
        self.run_in(volume, "echo x >/v/a")
        docker("volume", "rm", volume)
        docker("plugin", "disable", "-f", "rewind")
        self.assertEqual(ENGINE.volume_mounts(), [])
        plugin = ENGINE.plugin_id()
        docker("plugin", "rm", "rewind")
        self.assertFalse(os.path.exists(f"/run/docker/plugins/{plugin}/rewind.sock"))
        self.assertTrue(os.listdir(ENGINE.data), "the data stay until the user removes them")
        for pid in leftovers.processes_about("/usr/bin/rewind"):
            with open(f"/proc/{pid}/cgroup") as cgroup:
                self.assertNotIn(plugin, cgroup.read(), "no daemon is left")


def load_tests(loader, _tests, _pattern):
    suite = unittest.TestSuite()
    for case in (StoryTest, ContainersTest, BadInputTest, LifeTest):
        suite.addTests(loader.loadTestsFromTestCase(case))
    return suite


if __name__ == "__main__":
    if os.geteuid() != 0:
        sys.exit("docker_test: needs root, to start an engine")
    unittest.main(verbosity=2)
