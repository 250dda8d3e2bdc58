"""Rolling back under containers, and marks while they are still.

Goal: `rewind rollback --restart` stops exactly the containers that use the volumes, in order, and starts them again; if
something fails or it is ended in the middle, all is as before. `rewind mark --consistent` leaves no container paused and
no hook without its end, whatever happens, and its marks say what is true.
Method: a private engine with the managed plugin, real containers, the real command line. Where something has to happen at
an exact moment, the command reaches the engine through a proxy that holds a request until then. Needs root.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
import unittest

import images
import leftovers
from case import NamedCase
from engine import BINARY, Engine, SOURCE_DIR, say
from holding_proxy import HoldingProxy

ENGINE: Engine = None
docker = None
SOCKET = None  # the plugin's
PROXY: HoldingProxy = None

# Ends at once when it is asked to; what comes before it is the container's own.
IDLE = "trap 'exit 0' TERM; while :; do sleep 0.1; done"
STUBBORN = "trap '' TERM; while :; do sleep 0.1; done"


def setUpModule():
    global ENGINE, docker, SOCKET, PROXY
    leftovers.exit_on_signals()
    ENGINE = Engine()
    unittest.addModuleCleanup(ENGINE.close)
    docker = ENGINE.docker
    NamedCase.docker = staticmethod(docker)
    began = time.monotonic()
    ENGINE.start()
    images.make(ENGINE)
    ENGINE.create_plugin()
    SOCKET = ENGINE.plugin_socket()
    PROXY = HoldingProxy(f"{ENGINE.directory}/proxy.sock", ENGINE.host.removeprefix("unix://"))
    unittest.addModuleCleanup(PROXY.close)
    say(f"engine, images and plugin are up after {time.monotonic() - began:.1f} s, in {ENGINE.directory}")


def readme_labels(word):
    """Labels of the README's one Compose snippet that has this word, as a container has them."""
    with open(os.path.join(SOURCE_DIR, "README.md")) as readme:
        snippet, = (block for block in re.findall(r"^```\nlabels:\n(.*?)^```$", readme.read(), re.M | re.S) if word in block)
    labels = re.findall(r"^  (\S+): (?:\|\n((?:    .*\n)+)|(.*)\n)", snippet, re.M)
    return {name: (lines or line).replace("$$", "$") for name, lines, line in labels}


def begin(*arguments, engine=None, prefix=()):
    """Starts a command; `engine` is what DOCKER_HOST says."""
    return subprocess.Popen([*prefix, BINARY, *arguments], text=True, stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            env=dict(os.environ, REWIND_SOCKET=SOCKET, DOCKER_HOST=engine or ENGINE.host),
                            preexec_fn=leftovers.die_with_parent(signal.SIGKILL))


def end(command):
    """Its exit code and output; also what a guardian of it still says."""
    output, errors = command.communicate(timeout=120)
    return command.returncode, output, errors


def rewind(*arguments, **how):
    code, output, errors = end(begin(*arguments, **how))
    if code != 0:
        raise AssertionError(f"rewind {' '.join(arguments)}: {errors}")
    return output


class Case(NamedCase):
    prefix_length = 24

    def volume(self, suffix="v", *arguments):
        name = self.name(suffix)
        docker("volume", "create", "-d", "rewind", *arguments, name)
        return name

    def run_in(self, volume, script):
        return docker("run", "--rm", "--network", "none", "--name", self.name(f"run-{time.time_ns()}"), "-v",
                      f"{volume}:/v", "box", "/bin/sh", "-c", script).stdout

    def start(self, suffix, volume, script=IDLE, *arguments):
        container = self.name(suffix)
        docker("run", "-d", "--network", "none", "--name", container, "-v", f"{volume}:/v", *arguments, "box", "/bin/sh",
               "-c", script)
        return container

    def inspect(self, container):
        return json.loads(docker("inspect", container).stdout)[0]

    def state(self, container):
        return self.inspect(container)["State"]

    def status(self, *containers):
        return [self.state(container)["Status"] for container in containers]

    def instant(self, volume):
        return rewind("now", volume).strip()

    def marks(self, volume):
        return {mark["label"]: mark for mark in json.loads(rewind("marks", volume, "--json"))}

    def healthy(self, container):
        self.eventually(lambda: self.assertEqual(self.state(container)["Health"]["Status"], "healthy"))

    def refused(self, *arguments, words, **how):
        """The command fails with one line that has all of `words`; returns what it printed before."""
        return self.refusal(*end(begin(*arguments, **how)), words)

    def refusal(self, code, output, errors, words):
        self.assertEqual(code, 1, output + errors)
        self.assertEqual(len(errors.strip().splitlines()), 1, errors)
        for word in words:
            self.assertIn(word, errors)
        return output

    def read_until(self, command, line):
        """What a command prints up to this line."""
        seen = []
        while not seen or seen[-1] != line:
            text = command.stdout.readline()
            self.assertTrue(text, f"{line!r} did not come after {seen}: {command.stderr.read() if not text else ''}")
            seen.append(text.rstrip("\n"))
        return seen


def compose(project, service, needs=""):
    labels = {"com.docker.compose.project": project, "com.docker.compose.service": service,
              "com.docker.compose.depends_on": needs}
    return [part for key, value in labels.items() for part in ("--label", f"{key}={value}")]


class RollbackTest(Case):
    def test_restart_stops_and_starts_in_order(self):
        one, two, other = self.volume("one"), self.volume("two"), self.volume("other")
        self.run_in(one, "echo good >/v/a")
        self.run_in(two, "echo good >/v/b")
        then = self.instant(one)
        docker("volume", "create", "-d", "rewind", "-o", f"snapshot-of={one}", self.name("snapshot"))
        # The dependent is started first, and what it depends on through a third only is the other's.
        web = self.start("web", one, IDLE, *compose("shop", "web", "api:service_started:false"))
        self.start("api", other, IDLE, *compose("shop", "api", "db:service_started:true"))
        database = self.start("db", two, f"echo mistake >/v/b; {IDLE}", "--restart", "always", *compose("shop", "db"))
        looker = self.start("looker", self.name("snapshot"))
        stopped = self.start("stopped", one)
        docker("stop", "-t", "5", stopped)
        docker("exec", web, "/bin/sh", "-c", "echo mistake >/v/a")
        self.eventually(lambda: self.assertEqual(docker("exec", database, "/bin/cat", "/v/b").stdout, "mistake\n"))
        untouched = [self.state(self.name("api"))["StartedAt"], self.state(looker)["StartedAt"]]
        before = [self.state(name)["StartedAt"] for name in (web, database)]

        self.refused("rollback", one, two, "--at", then, words=["cannot roll back", "mounted", "--restart"])
        plan = json.loads(rewind("rollback", two, one, "--at", then, "--restart", "--dry-run", "--json"))
        self.assertEqual(plan, {"at": then, "volumes": [one, two], "stop": [web, database], "start": [database, web]})
        self.assertEqual([self.state(name)["StartedAt"] for name in (web, database)], before)

        lines = rewind("rollback", one, two, "--at", then, "--restart").splitlines()
        self.assertEqual(lines, [
            f"stopping {web}", f"stopping {database}", f"rolling back {one}, {two} to {then}", f"starting {database}",
            f"starting {web}",
            f"{one}, {two} are as at {then}; before-rollback-1 marks what was there before"])
        self.assertEqual(self.status(web, database, stopped), ["running", "running", "exited"])
        after_web, after_database = self.state(web), self.state(database)
        self.assertLess(after_database["StartedAt"], after_web["StartedAt"])
        self.assertGreater(after_database["StartedAt"], before[1])
        self.assertEqual([self.state(self.name("api"))["StartedAt"], self.state(looker)["StartedAt"]], untouched)
        self.assertEqual(docker("exec", web, "/bin/cat", "/v/a").stdout, "good\n")
        # What was there before is kept by a mark, at one instant for both.
        marks = [self.marks(volume)["before-rollback-1"]["at"] for volume in (one, two)]
        self.assertEqual(marks[0], marks[1])
        self.assertEqual(rewind("cat", one, "/a", "--at", "before-rollback-1"), "mistake\n")
        self.assertEqual(rewind("cat", two, "/b", "--at", "before-rollback-1"), "mistake\n")
        # And is reached by rolling back to it, under the same containers.
        done = rewind("rollback", one, two, "--at", "before-rollback-1", "--restart", "--json").splitlines()
        self.assertEqual(json.loads(done[-1])["label"], "before-rollback-2")
        self.assertEqual(docker("exec", web, "/bin/cat", "/v/a").stdout, "mistake\n")

    def test_a_project_is_rolled_back_as_one(self):
        label = ["--label", f"com.docker.compose.project={self.prefix}"]
        first, second = self.volume("first", *label), self.volume("second", *label)
        outside = self.volume("outside")
        docker("volume", "create", *label, self.name("local"))
        for volume in (first, second, outside):
            self.run_in(volume, "echo good >/v/a")
        then = self.instant(first)
        container = self.start("c", first, IDLE, "-v", f"{second}:/w")
        for volume in (first, second, outside):
            self.run_in(volume, "echo mistake >/v/a")
        rewind("rollback", "--project", self.prefix, "--at", then, "--restart")
        self.assertEqual(docker("exec", container, "/bin/cat", "/v/a", "/w/a").stdout, "good\ngood\n")
        self.assertEqual(self.run_in(outside, "cat /v/a"), "mistake\n")
        self.refused("rollback", "--project", "no-such-project", "--at", then, "--restart", words=["no-such-project"])
        # Also marks.
        rewind("mark", "--project", self.prefix, "together")
        self.assertIn("together", self.marks(second))

    def test_what_cannot_be_done_is_refused_before_anything_is_touched(self):
        old = self.volume("old")
        then = self.instant(old)
        young = self.volume("young")
        container = self.start("c", old, IDLE, "-v", f"{young}:/w")
        began = self.state(container)["StartedAt"]
        restart = ["--restart"]
        self.refused("rollback", old, young, "--at", then, *restart, words=[young, "before the first instant"])
        self.refused("rollback", old, "no-such", "--at", "now", *restart, words=["no-such"])
        self.refused("rollback", old, "--at", "yesterday", *restart, words=["yesterday"])
        docker("pause", container)
        self.refused("rollback", old, "--at", then, *restart, words=[container, "paused", "docker unpause"])
        docker("unpause", container)
        temporary = self.start("rm", old, IDLE, "--rm")
        self.refused("rollback", old, "--at", then, *restart, words=[temporary, "--rm"])
        docker("rm", "-f", temporary)
        path = os.path.join(ENGINE.directory, self.prefix)
        os.mkdir(path)
        rewind("mount", old, path)
        self.refused("rollback", old, "--at", then, *restart, words=["rewind mount on", "umount"])
        rewind("umount", path)
        # The same mark on two volumes means two instants.
        rewind("mark", old, "label")
        rewind("mark", young, "label")
        self.refused("rollback", old, young, "--at", "label", *restart, words=["label", old, young])
        self.assertEqual(self.state(container)["StartedAt"], began)
        self.assertEqual(list(self.marks(old)), ["label"])

    def two_that_need_health(self):
        """db is healthy, and stays up, only while its volume has a file, which it has not at the instant returned."""
        volume = self.volume()
        self.run_in(volume, "echo good >/v/a")
        then = self.instant(volume)
        self.run_in(volume, "echo mistake >/v/a; touch /v/needed")
        check = ["--health-cmd", "test -e /v/needed", "--health-interval", "200ms", "--health-retries", "1000"]
        return volume, then, check

    def expect_as_before(self, volume, *containers):
        self.assertEqual(self.status(*containers), ["running"] * len(containers))
        self.assertEqual(docker("exec", containers[0], "/bin/cat", "/v/a").stdout, "mistake\n")
        self.assertEqual(self.marks(volume), {})

    def test_failure_in_the_middle_puts_all_back(self):
        volume, then, check = self.two_that_need_health()
        database = self.start("db", volume, f"test -e /v/needed || exit 3; {IDLE}", *check, *compose("shop", "db"))
        web = self.start("web", volume, IDLE, *compose("shop", "web", "db:service_healthy:true"))
        self.healthy(database)
        lines = self.refused("rollback", volume, "--at", then, "--restart",
                             words=[f"{database} ended", "everything is as it was before"]).splitlines()
        self.assertEqual(lines[:5], [f"stopping {web}", f"stopping {database}", f"rolling back {volume} to {then}",
                                     f"starting {database}", f"waiting for {database} to be healthy"])
        self.assertEqual(lines[-2:], [f"starting {database}", f"starting {web}"])
        self.expect_as_before(volume, web, database)

    def test_what_cannot_be_put_back_is_said(self):
        volume = self.volume()
        then = self.instant(volume)
        self.run_in(volume, "echo mistake >/v/a")
        source = os.path.join(ENGINE.directory, self.prefix)
        os.mkdir(source)
        database = self.start("db", volume)
        web = self.start("web", volume, IDLE, "--mount", f"type=bind,source={source},target=/needed")
        os.rmdir(source)
        self.refused("rollback", volume, "--at", then, "--restart",
                     words=["rollback failed", source, f"not running: {web}", "hold what they held before"])
        self.assertEqual(self.status(database, web), ["running", "exited"])
        self.expect_as_before(volume, database)

    def test_ended_while_a_container_stops(self):
        for how in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            with self.subTest(how=how):
                volume = self.volume(f"v{how}")
                then = self.instant(volume)
                self.run_in(volume, "echo mistake >/v/a")
                database = self.start(f"db{how}", volume, STUBBORN)
                web = self.start(f"web{how}", volume)
                command = begin("rollback", volume, "--at", then, "--restart", "--timeout", "1s")
                self.read_until(command, f"stopping {database}")
                command.send_signal(how)
                code, output, errors = end(command)
                self.assertNotIn("rolling back", output)
                self.assertIn("everything is as it was before", errors)
                self.assertEqual(code, -9 if how == signal.SIGKILL else 1)
                self.expect_as_before(volume, database, web)

    def test_ended_while_or_after_the_volumes_are_rolled_back(self):
        volume, then, check = self.two_that_need_health()
        database = self.start("db", volume, IDLE, *check, *compose("shop", "db"))
        web = self.start("web", volume, IDLE, *compose("shop", "web", "db:service_healthy:true"))
        rolling, waiting = f"rolling back {volume} to {then}", f"waiting for {database} to be healthy"
        for line, how in [(rolling, signal.SIGINT), (rolling, signal.SIGKILL), (waiting, signal.SIGINT),
                          (waiting, signal.SIGKILL)]:
            with self.subTest(line=line, how=how):
                self.healthy(database)
                command = begin("rollback", volume, "--at", then, "--restart")
                self.read_until(command, line)
                if line == waiting:
                    self.assertEqual(docker("exec", database, "/bin/cat", "/v/a").stdout, "good\n")
                command.send_signal(how)
                self.assertIn("everything is as it was before", end(command)[2])
                self.expect_as_before(volume, web, database)

    def test_the_engine_cannot_be_reached(self):
        volume = self.volume()
        then = self.instant(volume)
        absent = os.path.join(ENGINE.directory, "no-such.sock")
        for arguments, how, words in [
                (["--docker-socket", absent], {}, [absent, "No such file", "DOCKER_HOST"]),
                ([], {"engine": "tcp://127.0.0.1:2375"}, ["tcp://127.0.0.1:2375", "unix://PATH"]),
                (["--docker-socket", SOCKET], {}, [SOCKET, "no Docker engine"])]:
            with self.subTest(words):
                self.refused("rollback", volume, "--at", then, "--restart", *arguments, words=words, **how)
        # Root is refused nothing but where it gave that right away.
        powerless = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--inh-caps",
                     "-dac_override,-dac_read_search"]
        path = os.path.join(ENGINE.directory, "forbidden.sock")
        proxy = HoldingProxy(path, ENGINE.host.removeprefix("unix://"))
        self.addCleanup(proxy.close)
        os.chmod(path, 0)
        self.refused("rollback", volume, "--at", then, "--restart", "--docker-socket", path, prefix=powerless,
                     words=[path, "Permission denied"])
        # What nobody uses needs no engine.
        rewind("rollback", volume, "--at", then, "--docker-socket", absent)
        rewind("mark", volume, "alone", "--consistent", "--docker-socket", absent)
        self.assertEqual(self.marks(volume)["alone"]["consistent"], "not mounted")


class ConsistentMarkTest(Case):
    def hooks(self, pre, post):
        return ["--label", f"rewind.pre-mark={pre}", "--label", f"rewind.post-mark={post}"]

    def expect_released(self, *containers):
        for container in containers:
            self.assertEqual(self.status(container), ["running"])

    def mark(self, volume, *arguments):
        return begin("mark", volume, "label", "--consistent", "--docker-socket", PROXY.path, *arguments)

    def test_hooks_run_around_the_mark_and_others_are_paused(self):
        one, two = self.volume("one"), self.volume("two")
        database = self.start("db", one, IDLE, *self.hooks("echo $((1+1)) >/v/still", "rm /v/still"))
        web = self.start("web", two)
        began = time.time()
        answer = json.loads(rewind("mark", one, two, "label", "--consistent", "--note", "a note", "--json"))
        self.assertEqual(answer["consistent"], {one: f"hooks: {database}", two: f"paused: {web}"})
        self.assertEqual(rewind("cat", one, "/still", "--at", "label"), "2\n")
        self.assertEqual(docker("exec", database, "/bin/ls", "/v").stdout, "")
        for volume in (one, two):
            self.assertEqual(self.marks(volume)["label"]["at"], answer["instant"])
            self.assertEqual(self.marks(volume)["label"]["consistent"], answer["consistent"][volume])
        shown = rewind("marks", one).splitlines()
        self.assertEqual(shown[0].split(), ["LABEL", "AT", "CONSISTENT", "NOTE"])
        self.assertIn(f"hooks: {database}", shown[1])
        events = docker("events", "--since", f"{began:.3f}", "--until", f"{time.time():.3f}", "--filter", "event=pause",
                        "--filter", "event=unpause", "--format", "{{.Action}} {{.Actor.Attributes.name}}").stdout
        self.assertEqual(events.splitlines(), [f"pause {web}", f"unpause {web}"])
        self.expect_released(database, web)
        rewind("mark", one, "plain")
        self.assertNotIn("consistent", self.marks(one)["plain"])

    def test_a_hook_that_fails_or_hangs_makes_no_mark(self):
        volume = self.volume()
        web = self.start("web", volume)
        for suffix, pre, limit, words in [
                ("failing", "touch /v/begun; echo cannot sync >&2; exit 3", "30s", ["exit status 3", "cannot sync"]),
                ("absent", "touch /v/begun; no-such-program", "30s", ["exit status 127"]),
                ("hanging", "touch /v/begun; exec sleep 1000", "2", ["within 2 s", "may still run"])]:
            with self.subTest(suffix):
                database = self.start(suffix, volume, IDLE, *self.hooks(pre, "mv /v/begun /v/ended"))
                self.refused("mark", volume, "label", "--consistent", "--timeout", limit,
                             words=["not marked", f"pre-mark hook of {database}", *words])
                self.assertEqual(docker("exec", database, "/bin/ls", "/v").stdout, "ended\n")
                docker("exec", database, "/bin/rm", "/v/ended")
                self.expect_released(web, database)
                docker("rm", "-f", database)
        self.assertEqual(self.marks(volume), {})

    def test_a_hook_that_does_not_end_it_is_said(self):
        volume = self.volume()
        failing = self.start("failing", volume, IDLE, *self.hooks("true", "exit 9"))
        hanging = self.start("hanging", volume, IDLE, *self.hooks("true", "sleep 1000"))
        output = self.refused("mark", volume, "label", "--consistent", "--timeout", "1s", words=[
            "marked, but", f"post-mark hook of {failing} failed with exit status 9",
            f"post-mark hook of {hanging} did not end within 1 s"])
        self.assertEqual(self.marks(volume)["label"]["at"], output.strip())

    def test_a_command_that_is_ended_leaves_nothing_paused(self):
        volume = self.volume()
        hooked = self.start("hooked", volume, IDLE, *self.hooks("touch /v/still", "rm /v/still"))
        first, second = sorted([self.start("a", volume), self.start("b", volume)])
        for how in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL):
            with self.subTest(how=how):
                # The last started is paused first.
                PROXY.hold(f"^POST /containers/{self.inspect(first)['Id']}/pause")
                command = self.mark(volume)
                self.assertTrue(PROXY.held.wait(60))
                self.assertEqual(self.status(second, first), ["paused", "running"])
                command.send_signal(how)
                if how == signal.SIGKILL:
                    command.wait()
                    PROXY.drop()
                else:
                    PROXY.go_on()
                code, output, errors = end(command)
                self.assertEqual(output, "")
                self.assertEqual(code, -9 if how == signal.SIGKILL else 1, errors)
                self.expect_released(hooked, first, second)
                self.assertEqual(docker("exec", hooked, "/bin/ls", "/v").stdout, "")
                self.assertEqual(self.marks(volume), {})

    def test_ended_while_a_hook_hangs(self):
        volume = self.volume()
        container = self.start("c", volume, IDLE, *self.hooks("touch /v/still; sleep 1000", "rm /v/still"))
        for how in (signal.SIGINT, signal.SIGKILL):
            with self.subTest(how=how):
                command = self.mark(volume, "--timeout", "1h")
                self.eventually(lambda: self.assertEqual(docker("exec", container, "/bin/ls", "/v").stdout, "still\n"))
                command.send_signal(how)
                end(command)
                self.assertEqual(docker("exec", container, "/bin/ls", "/v").stdout, "")
                self.assertEqual(self.marks(volume), {})

    def test_who_comes_or_is_released_meanwhile_makes_no_mark(self):
        volume = self.volume()
        first, second = sorted([self.start("a", volume), self.start("b", volume)])

        def during_the_pauses(what, words):
            PROXY.hold(f"^POST /containers/{self.inspect(first)['Id']}/pause")
            command = self.mark(volume)
            self.assertTrue(PROXY.held.wait(60))
            what()
            PROXY.go_on()
            self.refusal(*end(command), ["not marked", *words])
            self.expect_released(first, second)
        during_the_pauses(lambda: docker("unpause", second), [second, "somebody else"])
        during_the_pauses(lambda: self.start("late", volume), [volume, "somebody"])
        self.assertEqual(self.marks(volume), {})

    def test_who_was_paused_stays_paused(self):
        volume = self.volume()
        container = self.start("c", volume, IDLE, *self.hooks("touch /v/hook", "true"))
        docker("pause", container)
        rewind("mark", volume, "label", "--consistent")
        self.assertEqual(self.marks(volume)["label"]["consistent"], f"paused: {container}")
        self.assertEqual(self.status(container), ["paused"])
        docker("unpause", container)
        self.assertEqual(docker("exec", container, "/bin/ls", "/v").stdout, "")

    def test_what_cannot_be_marked_is_refused_before_anything_is_touched(self):
        volume = self.volume()
        container = self.start("c", volume, IDLE, *self.hooks("touch /v/hook", "true"))
        rewind("mark", volume, "label")
        self.refused("mark", volume, "label", "--consistent", words=["has a mark", "label"])
        self.refused("mark", volume, "9", "--consistent", words=["label", "refused"])
        self.refused("mark", volume, "new", "--consistent", "--at", "1s", words=["--at", "--consistent"])
        self.refused("mark", volume, "new", "--consistent", "--timeout", "soon", words=["soon"])
        self.refused("mark", volume, "new", "--consistent", "--docker-socket", "/no/such", words=["/no/such"])
        path = os.path.join(ENGINE.directory, self.prefix)
        os.mkdir(path)
        rewind("mount", volume, path)
        self.refused("mark", volume, "new", "--consistent", words=["rewind mount on", path])
        rewind("umount", path)
        self.assertEqual(docker("exec", container, "/bin/ls", "/v").stdout, "")


class DatabasesTest(Case):
    """The README's recipes."""
    patience = 180  # making a database takes a while

    def server_volume(self, suffix="v"):
        return self.volume(suffix, "-o", f"uid={images.SERVER_USER}", "-o", f"gid={images.SERVER_USER}", "-o", "mode=0700")

    def serve(self, suffix, volume, image, script, *arguments):
        container = self.name(suffix)
        docker("run", "-d", "--network", "none", "--user", str(images.SERVER_USER), "--name", container, "-v",
               f"{volume}:/v", *arguments, image, "/bin/sh", "-c", script)
        return container

    def answers(self, container, *command):
        def ask():
            self.assertEqual(self.status(container), ["running"], docker("logs", container).stderr)
            result = docker("exec", container, *command, check=False)
            self.assertEqual(result.returncode, 0, result.stderr + docker("logs", container).stderr[-2000:])
            return result.stdout.strip()
        return self.eventually(ask)

    def test_postgres(self):
        programs = images.make_postgres(ENGINE)
        path = ["-e", f"PATH={programs}:/bin", "-e", "PGHOST=/tmp", "-e", "PGUSER=server", "-e", "PGDATABASE=postgres"]
        serve = ("[ -e /v/PG_VERSION ] || initdb -D /v -A trust -E UTF8 --locale=C >/dev/null; "
                 "exec postgres -D /v -k /tmp -c listen_addresses=")
        volume = self.server_volume()
        database = self.serve("db", volume, "postgres", serve, *path, "--stop-signal", "SIGINT", "--label",
                              "rewind.pre-mark=psql -c CHECKPOINT")

        def sql(container, text):
            return self.answers(container, "psql", "-XAtc", text)
        sql(database, "SELECT 1")
        docker("exec", database, "pgbench", "-i", "-q", "-s", "1")
        docker("exec", "-d", database, "pgbench", "-n", "-c", "2", "-T", "1000")
        self.eventually(lambda: self.assertGreater(int(sql(database, "SELECT count(*) FROM pgbench_history")), 100))
        before = int(sql(database, "SELECT count(*) FROM pgbench_history"))
        rewind("mark", volume, "before-mistake", "--consistent")
        after = int(sql(database, "SELECT count(*) FROM pgbench_history"))
        self.assertEqual(self.marks(volume)["before-mistake"]["consistent"], f"hooks: {database}")
        sums = ("SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(delta) FROM pgbench_history), "
                "(SELECT count(*) FROM pgbench_history)")

        def expect_marked_state(container):
            same, rows = sql(container, sums).split("|")
            self.assertEqual(same, "t", "balances add up to the history's")
            self.assertTrue(before <= int(rows) <= after, f"{before} <= {rows} <= {after}")
        clone = self.name("clone")
        docker("volume", "create", "-d", "rewind", "-o", f"clone-of={volume}", "-o", "at=before-mistake", clone)
        expect_marked_state(self.serve("look", clone, "postgres", serve, *path))

        sql(database, "DELETE FROM pgbench_history")
        sql(database, "DROP TABLE pgbench_accounts CASCADE")
        rewind("rollback", volume, "--at", "before-mistake", "--restart")
        expect_marked_state(database)

    def test_mariadb(self):
        images.make_mariadb(ENGINE)
        hooks = readme_labels("FLUSH TABLES")
        environment = ["-e", "PATH=/usr/sbin:/usr/bin:/bin", "-e", "MYSQL_ROOT_PASSWORD=s3cret",
                       "-e", "MYSQL_UNIX_PORT=/tmp/mariadb"]
        # As the images that people pull do it: the password is set when there is no database yet.
        serve = ("options='--no-defaults --datadir=/v/data --innodb-log-file-size=16M'; touch /tmp/init; "
                 "[ -e /v/data ] || { mariadb-install-db $options --basedir=/usr --force --skip-test-db "
                 "--auth-root-authentication-method=normal >&2 && printf 'CREATE DATABASE shop;\\n"
                 "ALTER USER root@localhost IDENTIFIED BY \"%s\";\\n' \"$MYSQL_ROOT_PASSWORD\" >/tmp/init; }; "
                 "exec mariadbd $options --skip-networking --init-file=/tmp/init")
        volume = self.server_volume()
        labels = [word for name, hook in hooks.items() for word in ("--label", f"{name}={hook}")]
        database = self.serve("db", volume, "mariadb", serve, *environment, *labels)

        def sql(container, text):
            return self.answers(container, "mysql", "-uroot", "-ps3cret", "-BN", "-e", text)
        sql(database, "CREATE TABLE shop.line (number INT AUTO_INCREMENT PRIMARY KEY, text VARCHAR(200), KEY (text)) "
                      "ENGINE=MyISAM")
        insert = "INSERT INTO shop.line (text) VALUES (REPEAT(UUID(), 5));"
        docker("exec", "-d", database, "sh", "-c", f"while echo '{insert}'; do :; done | mysql -uroot -ps3cret")

        def rows(container):
            return int(sql(container, "SELECT COUNT(*) FROM shop.line"))

        def check(container):
            return sql(container, "CHECK TABLE shop.line EXTENDED")

        def look(at, suffix):
            clone = self.name(suffix)
            docker("volume", "create", "-d", "rewind", "-o", f"clone-of={volume}", "-o", f"at={at}", clone)
            return self.serve("look-" + suffix, clone, "mariadb", serve, *environment)
        self.eventually(lambda: self.assertGreater(rows(database), 100))
        before = rows(database)
        rewind("mark", volume, "held", "--consistent")
        after = rows(database)
        self.assertEqual(self.marks(volume)["held"]["consistent"], f"hooks: {database}")
        self.eventually(lambda: self.assertGreater(rows(database), after))  # the lock is released
        rewind("mark", volume, "running")

        held = look("held", "held")
        self.assertTrue(check(held).endswith("\tOK"), check(held))
        self.assertTrue(before <= rows(held) <= after)
        self.assertNotRegex(check(look("running", "running")), r"^[^\n]*OK$", "without the hook, there is something to mend")

        sql(database, "DROP TABLE shop.line")
        rewind("rollback", volume, "--at", "held", "--restart")
        self.assertTrue(check(database).endswith("\tOK"))
        self.assertTrue(before <= rows(database) <= after)

        # A hook that cannot do its work ends by itself, and there is no mark.
        sql(database, "SET PASSWORD FOR root@localhost = PASSWORD('other')")
        self.refused("mark", volume, "not-held", "--consistent", words=[database, "Access denied"])
        self.assertNotIn("not-held", self.marks(volume))

    def test_redis(self):
        images.make_redis(ENGINE)
        volume = self.server_volume()
        serve = "exec redis-server --port 0 --unixsocket /tmp/redis --dir /v --save ''"
        database = self.serve("db", volume, "redis", serve, "--label",
                              "rewind.pre-mark=redis-cli -s /tmp/redis save | grep -q OK")

        def ask(container, *command):
            return self.answers(container, "/usr/bin/redis-cli", "-s", "/tmp/redis", *command)
        ask(database, "set", "key", "good")
        rewind("mark", volume, "label", "--consistent")
        ask(database, "set", "key", "mistake")
        rewind("rollback", volume, "--at", "label", "--restart")
        self.assertEqual(ask(database, "get", "key"), "good")


if __name__ == "__main__":
    if os.geteuid() != 0:
        sys.exit("operate_test: needs root, to start an engine")
    unittest.main(verbosity=2)
