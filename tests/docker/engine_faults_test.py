"""The engine is killed, restarted, and treats its plugin badly.

Goal: no volume vanishes from Docker, the data stay right, containers that are to go on do so, and no mount is left
behind when nothing uses a volume any more.
Method: an engine of its own; SIGKILL to dockerd with and without live-restore while containers write and others are
restarted always; the plugin disabled by force under containers, enabled again, and replaced by force by another build
over the same data. Needs root.
"""

import json
import os
import sys
import unittest

import images
import leftovers
from case import PatientCase
from engine import BINARY, Engine

# Counts its starts; then appends 1, 2, 3, … and says so when that fails, until it is told to end.
WRITER = """
echo start >>/v/starts
i=1
while [ ! -e /v/stop ]; do echo $i >>/v/log || echo failed; i=$((i+1)); done
"""


class EngineFaultsTest(PatientCase):
    @classmethod
    def setUpClass(cls):
        leftovers.exit_on_signals()
        cls.engine = Engine()
        cls.addClassCleanup(cls.engine.close)
        cls.engine.start()
        images.make(cls.engine)
        cls.engine.create_plugin()
        cls.docker = staticmethod(cls.engine.docker)

    def setUp(self):
        self.prefix = self._testMethodName.removeprefix("test_").replace("_", "-")[:30]

    def volume(self, suffix="v"):
        name = f"{self.prefix}-{suffix}"
        self.docker("volume", "create", "-d", "rewind", "--label", "keep=me", name)
        return name

    def start(self, volume, script=WRITER, suffix="c", *arguments):
        name = f"{self.prefix}-{suffix}"
        self.docker("run", "-d", "--network", "none", "--name", name, "-v", f"{volume}:/v", *arguments, "box",
                    "/bin/sh", "-c", script)
        return name

    def run_in(self, volume, script):
        return self.docker("run", "--rm", "--network", "none", "-v", f"{volume}:/v", "box", "/bin/sh", "-c",
                           script).stdout

    def lines(self, container, file="log"):
        result = self.docker("exec", container, "/bin/wc", "-l", f"/v/{file}", check=False)
        self.assertEqual(result.returncode, 0, result.stderr)
        return int(result.stdout.split()[0])

    def expect_progress(self, container):
        before = self.eventually(lambda: self.lines(container))
        self.eventually(lambda: self.assertGreater(self.lines(container), before))

    def expect_volumes(self, *names):
        known = self.docker("volume", "ls", "-q", "--filter", "label=keep=me").stdout.split()
        for name in names:
            self.assertIn(name, known, "the engine forgets a volume that its driver denies")

    def expect_sound_log(self, volume, starts):
        """What each start of the writer wrote counts from 1 without a gap."""
        text = self.run_in(volume, "cat /v/starts; echo; cat /v/log")
        head, _, log = text.partition("\n\n")
        self.assertEqual(head.split(), ["start"] * starts)
        last, seen = 0, 0
        for line in log.split():
            number = int(line)
            seen += number == 1
            self.assertIn(number, (last + 1, 1))
            last = number
        self.assertEqual(seen, starts)

    def end(self, *volumes):
        """Removes this test's containers and volumes; nothing may be left mounted."""
        containers = self.docker("ps", "-aq", "--filter", f"name={self.prefix}").stdout.split()
        if containers:
            self.docker("rm", "-f", *containers)
        self.eventually(lambda: self.assertEqual(self.engine.volume_mounts(), []))
        self.docker("volume", "rm", *volumes)

    def test_engine_killed(self):
        used, unused = self.volume(), self.volume("unused")
        always = self.start(used, WRITER, "always", "--restart", "always")
        self.eventually(lambda: self.lines(always))
        self.run_in(unused, "echo kept >/v/a")
        self.engine.kill()
        self.engine.start()
        self.expect_volumes(used, unused)
        self.eventually(lambda: self.assertEqual(self.lines(always, "starts"), 2))
        self.expect_progress(always)
        self.assertEqual(self.run_in(unused, "cat /v/a"), "kept\n")
        self.docker("exec", always, "/bin/touch", "/v/stop")
        self.docker("rm", "-f", always)
        self.expect_sound_log(used, 2)
        self.end(used, unused)

    def test_engine_killed_and_containers_live_on(self):
        self.engine.restart("--live-restore")
        volume = self.volume()
        container = self.start(volume)
        self.eventually(lambda: self.lines(container))
        for _ in range(2):
            self.engine.kill()
            self.engine.start("--live-restore")
            self.expect_volumes(volume)
            self.expect_progress(container)
        self.docker("exec", container, "/bin/touch", "/v/stop")
        self.assertEqual(self.docker("wait", container).stdout.strip(), "0")
        output = self.docker("logs", container)
        self.assertEqual(output.stdout + output.stderr, "", "the container noticed nothing")
        self.docker("rm", container)
        self.expect_sound_log(volume, 1)
        # The engine asks for each mount and unmount once: no count is left over.
        self.end(volume)
        self.engine.restart()

    def test_mounts_that_the_engine_forgot_are_released(self):
        """As an engine leaves them that is killed while it starts containers, and goes on with those that run."""
        volume = self.volume()
        mount = json.dumps({"Name": volume, "ID": "forgotten"})
        for _ in range(2):
            self.assertEqual(self.engine.ask("/VolumeDriver.Mount", mount)["Err"], "")
        refused = self.docker("volume", "rm", volume, check=False)
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn(f"rewind release {volume}", refused.stderr)

        container = self.start(volume, "exec sleep 1000")
        result = self.release(volume)
        self.assertEqual((result.returncode, result.stdout), (1, ""))
        self.assertIn(container, result.stderr)
        self.docker("rm", "-f", container)

        result = self.release(volume)
        self.assertEqual((result.returncode, result.stdout), (0, "forgotten\n"), result.stderr)
        self.assertEqual(self.release(volume).stdout, "")
        self.docker("volume", "rm", volume)

    def release(self, volume):
        return self.engine.rewind("release", volume, "--docker-socket", self.engine.host.removeprefix("unix://"),
                                  check=False)

    def test_plugin_disabled_under_containers(self):
        volume = self.volume()
        container = self.start(volume)
        self.eventually(lambda: self.lines(container))
        self.docker("plugin", "disable", "-f", "rewind")
        self.assertEqual(self.engine.volume_mounts(), [])
        self.docker("plugin", "enable", "rewind")
        self.expect_volumes(volume)
        # The container's mount is gone for good; another one, and its own next start, get a new one.
        self.assertIn("start", self.run_in(volume, "cat /v/starts"))
        self.docker("kill", container)
        self.run_in(volume, "rm /v/log /v/starts")
        self.docker("start", container)
        self.expect_progress(container)
        self.docker("exec", container, "/bin/touch", "/v/stop")
        self.docker("wait", container)
        self.expect_sound_log(volume, 1)
        self.end(volume)

    def test_plugin_replaced_under_containers(self):
        volume = self.volume()
        container = self.start(volume)
        self.eventually(lambda: self.lines(container))
        # Another build: the same program with something at its end, as far as the engine can tell.
        newer = os.path.join(self.engine.directory, "newer")
        with open(BINARY, "rb") as old, open(newer, "wb") as new:
            new.write(old.read() + b"newer")
        os.chmod(newer, 0o755)
        former = self.engine.plugin_id()
        self.engine.script("plugin-create.sh", "--binary", newer, "--force")
        self.assertNotEqual(self.engine.plugin_id(), former)
        self.expect_volumes(volume)
        self.assertIn("start", self.run_in(volume, "cat /v/starts"))
        self.docker("restart", "-t", "0", container)
        self.eventually(lambda: self.assertEqual(self.lines(container, "starts"), 2))
        self.expect_progress(container)
        self.end(volume)

    def test_the_daemon_holds_one_capability(self):
        plugin, seen = self.engine.plugin_id(), 0
        for pid in leftovers.processes_about("/usr/bin/rewind"):
            with open(f"/proc/{pid}/cgroup") as cgroup:
                if plugin not in cgroup.read():
                    continue
            with open(f"/proc/{pid}/status") as status:
                fields = dict(line.rstrip("\n").split(":\t", 1) for line in status if ":\t" in line)
            for kind in ("CapEff", "CapPrm", "CapBnd"):
                self.assertEqual(int(fields[kind], 16), 1 << 21, f"{kind} of {pid}")
            self.assertEqual(fields["NoNewPrivs"], "1")
            seen += 1
        self.assertEqual(seen, 2, "supervisor and daemon")


if __name__ == "__main__":
    if os.geteuid() != 0:
        sys.exit("engine_faults_test: needs root, to start an engine")
    unittest.main(verbosity=2)
