// rename and renameat2.
#include <linux/fs.h>
#include <stdio.h>

#include "tests/posix/check.h"

namespace rw::testing {
namespace {

int Rename(CheckRun& run, const char* from, const char* to, unsigned flags = 0) {
  return renameat2(AT_FDCWD, run.Path(from).c_str(), AT_FDCWD, run.Path(to).c_str(), flags);
}
bool Exists(CheckRun& run, const char* name) {
  struct stat st;
  return lstat(run.Path(name).c_str(), &st) == 0;
}

}  // namespace

POSIX_CHECK(rename, AllKindsKeepWhatTheyAre) {
  run.MakeFile("file", "data");
  run.MakeDirectory("directory");
  run.MakeFile("directory/inside", "inside");
  OK(mkfifo(run.Path("fifo").c_str(), 0644));
  OK(symlink("absent", run.Path("symlink").c_str()));
  OK(mknod(run.Path("device").c_str(), S_IFCHR | 0600, 0x103));
  for (const char* name : {"file", "directory", "fifo", "symlink", "device"}) {
    const struct stat before = run.Stat(run.Path(name));
    OK(Rename(run, name, "new"));
    THAT(!Exists(run, name));
    const struct stat after = run.Stat(run.Path("new"));
    SAME(after.st_ino, before.st_ino);
    SAME(after.st_mode, before.st_mode);
    SAME(after.st_nlink, before.st_nlink);
    OK(Rename(run, "new", name));
  }
  SAME(run.Contents(run.Path("file")), "data");
  SAME(run.Contents(run.Path("directory/inside")), "inside");
}

POSIX_CHECK(rename, TimesOfItAndOfTheDirectories) {
  const std::string one = run.MakeDirectory("one");
  const std::string two = run.MakeDirectory("two");
  run.MakeFile("one/x");
  const Fd fd(run.Path("one/x"), O_RDONLY);
  const std::string moved = "/proc/self/fd/" + std::to_string(fd);
  SAME(run.TimesChangedBy(one, [&] { OK(Rename(run, "one/x", "two/x")); }), kMtime | kCtime);
  SAME(run.TimesChangedBy(two, [&] { OK(Rename(run, "two/x", "one/x")); }), kMtime | kCtime);
  SAME(run.TimesChangedBy(two, [&] { OK(Rename(run, "one/x", "two/x")); }), kMtime | kCtime);
  const struct stat before = run.Stat(run.Path("two/x"));
  run.TimesChangedBy(run.Path("two/x"), [&] {
    OK(Rename(run, "two/x", "one/x"));
    OK(Rename(run, "one/x", "two/x"));
  });
  const struct stat after = run.Stat(run.Path("two/x"));
  THAT(after.st_mtim.tv_sec == before.st_mtim.tv_sec &&
       after.st_mtim.tv_nsec == before.st_mtim.tv_nsec);
  THAT(after.st_ctim.tv_sec > before.st_ctim.tv_sec ||
       after.st_ctim.tv_nsec != before.st_ctim.tv_nsec);
  SAME(run.TimesChangedBy(two, [&] { FAILS(ENOENT, Rename(run, "two/absent", "two/y")); }),
       kNoTime);
}

POSIX_CHECK(rename, LinkCountsOfDirectories) {
  run.MakeDirectory("one");
  run.MakeDirectory("two");
  run.MakeDirectory("one/d");
  run.MakeFile("one/d/file");
  OK(Rename(run, "one/d", "two/d"));
  SAME(run.Stat(run.Path("one")).st_nlink, nlink_t{2});
  SAME(run.Stat(run.Path("two")).st_nlink, nlink_t{3});
  SAME(run.Stat(run.Path("two/d/..")).st_ino, run.Stat(run.Path("two")).st_ino);
  run.MakeDirectory("one/e");
  OK(Rename(run, "two/d", "one/e"));
  SAME(run.Stat(run.Path("one")).st_nlink, nlink_t{3});
  SAME(run.Stat(run.Path("two")).st_nlink, nlink_t{2});
  THAT(Exists(run, "one/e/file"));
}

POSIX_CHECK(rename, ReplacesWhatIsOfItsKind) {
  run.MakeFile("file", "new");
  const std::string old = run.MakeFile("old", "old");
  OK(link(old.c_str(), run.Path("other name of old").c_str()));
  const Fd open_old(old, O_RDONLY);
  OK(Rename(run, "file", "old"));
  SAME(run.Contents(old), "new");
  SAME(run.Stat(run.Path("other name of old")).st_nlink, nlink_t{1});
  OK(unlink(run.Path("other name of old").c_str()));
  char buffer[4] = {};
  SAME(pread(open_old, buffer, 3, 0), ssize_t{3});
  SAME(std::string(buffer), "old");

  run.MakeDirectory("empty");
  run.MakeDirectory("full");
  run.MakeFile("full/file");
  FAILS(ENOTEMPTY, Rename(run, "empty", "full"));
  FAILS(EISDIR, Rename(run, "old", "empty"));
  FAILS(ENOTDIR, Rename(run, "empty", "old"));
  OK(Rename(run, "full", "empty"));
  THAT(Exists(run, "empty/file"));
  OK(symlink("old", run.Path("symlink").c_str()));
  OK(Rename(run, "old", "symlink"));
  SAME(run.Contents(run.Path("symlink")), "new");
}

POSIX_CHECK(rename, OfTwoNamesOfOneFileDoesNothing) {
  const std::string one = run.MakeFile("one");
  OK(link(one.c_str(), run.Path("two").c_str()));
  SAME(run.TimesChangedBy(run.directory(), [&] { OK(Rename(run, "one", "two")); }), kNoTime);
  OK(Rename(run, "one", "one"));
  THAT(Exists(run, "one") && Exists(run, "two"));
}

POSIX_CHECK(rename, WhatCannotBe) {
  run.MakeDirectory("d");
  run.MakeDirectory("d/e");
  FAILS(EINVAL, Rename(run, "d", "d/x"));
  FAILS(EINVAL, Rename(run, "d", "d/e/x"));
  FAILS(ENOTEMPTY, Rename(run, "d/e", "d"));
  FAILS(EBUSY, Rename(run, "d/.", "x"));
  FAILS(EBUSY, Rename(run, "d/e/..", "x"));
  FAILS(EBUSY, Rename(run, "d/e", "d/."));
  run.MakeFile("file");
  FAILS(ENOTDIR, Rename(run, "d/e", "file/x"));
  FAILS(ENOTDIR, Rename(run, "file", "new/"));
}

POSIX_CHECK(rename, ADirectoryOfOthersStaysInItsParent) {
  for (const char* name : {"one", "two"}) run.MakeDirectory(name, 0777);
  run.MakeDirectory("one/roots");
  run.As(kAlice, [&] {
    FAILS(EACCES, Rename(run, "one/roots", "two/roots"));
    OK(Rename(run, "one/roots", "one/renamed"));
  });
}

// What programs replace files with so that readers find the old or the new one, whole.
POSIX_CHECK(rename, AReplacedNameIsAlwaysThere) {
  const std::string path = run.MakeFile("file", std::string(10'000, 'a'));
  const auto child = run.Start([&] {
    for (int i = 0; i < 100; ++i) {
      run.MakeFile("new", std::string(10'000, static_cast<char>('a' + i % 26)));
      OK(Rename(run, "new", "file"));
    }
    OK(unlink(path.c_str()));
  });
  for (;;) {
    const Fd fd(path, O_RDONLY);
    if (fd < 0) {
      SAME(errno, ENOENT);
      break;
    }
    std::string bytes(10'001, '#');
    SAME(read(fd, bytes.data(), bytes.size()), ssize_t{10'000});
    THAT(bytes.find_first_not_of(bytes[0]) == 10'000);
  }
  run.Wait(child);  // it made sure that each replacing worked
  SAME(run.Names(run.directory()).size(), size_t{0});
}

POSIX_CHECK(rename, WithoutReplacing) {
  run.MakeFile("one", "1");
  run.MakeFile("two", "2");
  FAILS(EEXIST, Rename(run, "one", "two", RENAME_NOREPLACE));
  OK(Rename(run, "one", "three", RENAME_NOREPLACE));
  SAME(run.Contents(run.Path("three")), "1");
  FAILS(EINVAL, Rename(run, "two", "three", RENAME_NOREPLACE | RENAME_EXCHANGE));
  FAILS(EINVAL, Rename(run, "two", "three", 1U << 8));
}

POSIX_CHECK(rename, Exchanging) {
  run.MakeDirectory("a");
  run.MakeDirectory("b");
  run.MakeFile("a/x", "1");
  run.MakeDirectory("b/x");
  OK(symlink("target", run.Path("b/x/inside").c_str()));
  const ino_t file = run.Stat(run.Path("a/x")).st_ino;
  SAME(run.TimesChangedBy(run.Path("a"), [&] { OK(Rename(run, "a/x", "b/x", RENAME_EXCHANGE)); }),
       kMtime | kCtime);
  SAME(run.Stat(run.Path("b/x")).st_ino, file);
  THAT(Exists(run, "a/x/inside"));
  SAME(run.Stat(run.Path("a")).st_nlink, nlink_t{3});
  SAME(run.Stat(run.Path("b")).st_nlink, nlink_t{2});
  FAILS(ENOENT, Rename(run, "a/x", "absent", RENAME_EXCHANGE));
  FAILS(EINVAL, Rename(run, "a", "a/x", RENAME_EXCHANGE));
  FAILS(EINVAL, Rename(run, "a/x", "a", RENAME_EXCHANGE));
}

POSIX_CHECK(rename, LeavingAWhiteout) {
  run.MakeFile("file", "data");
  OK(Rename(run, "file", "moved", RENAME_WHITEOUT));
  SAME(run.Stat(run.Path("file")).st_mode & S_IFMT, mode_t{S_IFCHR});
  SAME(run.Stat(run.Path("file")).st_rdev, dev_t{0});
  SAME(run.Contents(run.Path("moved")), "data");
  FAILS(EINVAL, Rename(run, "file", "moved", RENAME_WHITEOUT | RENAME_EXCHANGE));
}

}  // namespace rw::testing
