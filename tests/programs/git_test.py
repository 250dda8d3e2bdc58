"""git on a volume: every instant of a repository at work is a sound repository.

Goal: while one process commits without end and another repacks, collects garbage and packs references, an instant of
the volume passes `git fsck --full`, has every commit that was made before it and none that began after it, and its
working tree is that commit. A checkout of thousands of files is complete and `git status` finds it clean.
Method: contents follow from path and revision, so that a walk of ours can tell what each commit must hold. Commits are
counted before and after an instant is taken; no clock is compared.
"""

import glob
import hashlib
import os
import signal
import subprocess
import sys
import threading
import unittest

import tree
from program import ProgramTest, end_group, leftovers, run, wait_until

FILES = 2000
FILES_A_COMMIT = 7
COMMITS_BETWEEN_INSTANTS = 12
INSTANTS = 2
ENVIRONMENT = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null",
               "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example", "GIT_COMMITTER_NAME": "c",
               "GIT_COMMITTER_EMAIL": "c@example"}


def path_of(number):
    odd = (" ", "\n", "ü", "'", "-")[number % 5]
    return f"part{number % 40}/{odd}deep{number % 7}/file{number}"


def revision_of(number, commit):
    """The commit that last changed a file: the first holds all, each later one changes some."""
    for changed in range(commit, 1, -1):
        if number in changed_by(changed):
            return changed
    return 1


def changed_by(commit):
    return {(commit * FILES_A_COMMIT + n) * 13 % FILES for n in range(FILES_A_COMMIT)}


def write(directory, number, revision):
    path = os.path.join(directory, path_of(number))
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(contents(number, revision))


def contents(number, revision):
    line = hashlib.sha256(f"{number} {revision}".encode()).hexdigest().encode() + b"\n"
    return b"".join(b"%d " % n + line for n in range(1 + number % 40))


def git(repository, *arguments):
    return run("git", "-C", repository, *arguments, env=ENVIRONMENT)


class Committer:
    """Changes some files and commits them, again and again, until it is told to stop."""

    def __init__(self, repository, commits):
        self.begun = self.done = commits
        self._repository = repository
        self._stop = threading.Event()
        self._error = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        try:
            while not self._stop.is_set():
                self.begun += 1
                for number in changed_by(self.begun):
                    write(self._repository, number, self.begun)
                git(self._repository, "commit", "-q", "-a", "-m", f"commit {self.begun}")
                self.done = self.begun
        except BaseException as error:
            self._error = error

    def wait_for(self, commits):
        wait_until(lambda: self.done >= commits or self._error, f"commit {commits}")

    def stop(self):
        self._stop.set()
        self._thread.join()
        if self._error:
            raise self._error


class GitTest(ProgramTest):
    def make(self, repository):
        git(".", "init", "-q", "-b", "main", repository)
        # What is packed by itself would be packed at its own time.
        git(repository, "config", "gc.auto", "0")
        for number in range(FILES):
            write(repository, number, 1)
        git(repository, "add", "-A")
        git(repository, "commit", "-q", "-m", "commit 1")

    def assert_tree_is(self, directory, commit):
        expected = {path_of(number).encode(): hashlib.sha256(contents(number, revision_of(number, commit))).digest()
                    for number in range(FILES)}
        found = {}
        for path, facts in tree.walk(directory, without=("xattrs",)).items():
            if "contents" in facts and not path.startswith(b".git/"):
                with open(os.path.join(os.fsencode(directory), path), "rb") as file:
                    found[path] = hashlib.sha256(file.read()).digest()
        self.assertEqual({path for path in expected.keys() | found.keys() if expected.get(path) != found.get(path)},
                         set(), f"files that are not those of commit {commit}")

    def assert_sound(self, repository):
        """Returns how many commits there are."""
        report = run("git", "-C", repository, "fsck", "--full", "--strict", "--no-dangling", env=ENVIRONMENT)
        self.assertEqual(report, "")
        return int(git(repository, "rev-list", "--count", "HEAD"))

    def repack_without_end(self, repository):
        # Objects younger than two weeks stay: a commit may be about to name them.
        script = ("while git repack -adq && git pack-refs --all && git gc -q --prune=2.weeks.ago && "
                  "git repack -adfq --depth=5; do :; done")
        log = open(os.path.join(self.scratch, "repack.log"), "ab")
        self.addCleanup(log.close)
        process = subprocess.Popen(["sh", "-c", script], cwd=repository, env=ENVIRONMENT, stdin=subprocess.DEVNULL,
                                   stdout=log, stderr=log, start_new_session=True,
                                   preexec_fn=leftovers.die_with_parent())
        return process

    def test_every_instant_is_a_sound_repository(self):
        self.daemon.create("git")
        with self.mounted("git") as volume:
            repository = os.path.join(volume, "repository")
            self.make(repository)
            self.assertEqual(git(repository, "status", "--porcelain"), "")
            instants = self.instants_of_work(repository)
            commits = self.assert_sound(repository)
            git(repository, "repack", "-adq")
            self.assertEqual(len(glob.glob(os.path.join(repository, ".git/objects/pack/*.pack"))), 1)
            self.assertEqual(self.assert_sound(repository), commits)
            self.check_checkouts(volume, repository, commits)
        for number, (instant, done, begun) in enumerate(instants):
            with self.subTest(instant=instant):
                self.check_instant(f"git-{number}", instant, done, begun)

    def instants_of_work(self, repository):
        """Instants in the middle of work, each with the commits that it surely and at most has."""
        found = []
        repacking = self.repack_without_end(repository)
        committer = Committer(repository, 1)
        try:
            for number in range(INSTANTS):
                committer.wait_for(1 + COMMITS_BETWEEN_INSTANTS * (number + 1))
                done = committer.done
                instant = self.daemon.now("git")
                found.append((instant, done, committer.begun))
            self.assertIsNone(repacking.poll(), "repacking failed")
        finally:
            committer.stop()
            end_group(repacking, signal.SIGTERM)
        for lock in glob.glob(os.path.join(repository, ".git", "*.lock")):
            os.remove(lock)
        return found

    def check_checkouts(self, volume, repository, commits):
        second = os.path.join(volume, "second")
        run("git", "clone", "-q", "--no-hardlinks", repository, second, env=ENVIRONMENT)
        self.assertEqual(git(second, "status", "--porcelain"), "")
        self.assert_tree_is(second, commits)
        git(second, "checkout", "-q", f"HEAD~{commits - 1}")
        self.assert_tree_is(second, 1)
        git(second, "checkout", "-q", "main")
        self.assertEqual(git(second, "status", "--porcelain"), "")
        self.assert_tree_is(second, commits)

    def check_instant(self, name, instant, done, begun):
        with self.look("git", instant, name + "-look") as volume:
            commits = self.assert_sound(os.path.join(volume, "repository"))
            self.assertGreaterEqual(commits, done)
            self.assertLessEqual(commits, begun)
        with self.copy("git", instant, name) as volume:
            repository = os.path.join(volume, "repository")
            # As after any crash: what was locked then is locked by nobody now.
            for lock in glob.glob(os.path.join(repository, ".git", "**", "*.lock"), recursive=True):
                os.remove(lock)
            git(repository, "reset", "-q", "--hard")
            self.assertEqual(git(repository, "status", "--porcelain"), "")
            self.assert_tree_is(repository, commits)
            write(repository, 0, begun + 1)
            git(repository, "commit", "-q", "-a", "-m", "goes on")
            git(repository, "repack", "-adq")
            self.assertEqual(self.assert_sound(repository), commits + 1)
            print(f"git: {done} to {begun} commits at the instant, found {commits}", file=sys.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
