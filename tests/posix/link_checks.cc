// link, unlink, rmdir: counts, times, and sticky directories.
#include <stdio.h>

#include "tests/posix/check.h"

namespace rw::testing {

POSIX_CHECK(link, NamesOfOneFileShareEverything) {
  const std::string one = run.MakeFile("one", "data");
  const std::string two = run.Path("two");
  OK(link(one.c_str(), two.c_str()));
  SAME(run.Stat(one).st_ino, run.Stat(two).st_ino);
  SAME(run.Stat(one).st_nlink, nlink_t{2});
  OK(chmod(two.c_str(), 0604));
  OK(chown(two.c_str(), 1, 2));
  OK(truncate(two.c_str(), 3));
  SAME(run.Mode(one), mode_t{0604});
  SAME(run.Stat(one).st_uid, uid_t{1});
  SAME(run.Contents(one), "dat");
  OK(unlink(one.c_str()));
  SAME(run.Stat(two).st_nlink, nlink_t{1});
  SAME(run.Contents(two), "dat");
}

POSIX_CHECK(link, Times) {
  const std::string one = run.MakeFile("one");
  const std::string dir = run.MakeDirectory("d");
  const std::string two = run.Path("d/two");
  SAME(run.TimesChangedBy(one, [&] { OK(link(one.c_str(), two.c_str())); }), unsigned{kCtime});
  SAME(run.TimesChangedBy(one, [&] { OK(unlink(two.c_str())); }), unsigned{kCtime});
  SAME(run.TimesChangedBy(dir, [&] { OK(link(one.c_str(), two.c_str())); }), kMtime | kCtime);
  SAME(run.TimesChangedBy(one, [&] { FAILS(EEXIST, link(one.c_str(), two.c_str())); }), kNoTime);
  SAME(run.TimesChangedBy(dir, [&] { OK(unlink(two.c_str())); }), kMtime | kCtime);
  SAME(run.TimesChangedBy(dir, [&] { FAILS(ENOENT, unlink(two.c_str())); }), kNoTime);
}

POSIX_CHECK(link, AllKindsButDirectories) {
  OK(mkfifo(run.Path("fifo").c_str(), 0644));
  OK(symlink("fifo", run.Path("symlink").c_str()));
  OK(mknod(run.Path("device").c_str(), S_IFCHR | 0600, 0x103));
  for (const char* name : {"fifo", "symlink", "device"}) {
    const std::string two = run.Path(std::string(name) + "2");
    OK(link(run.Path(name).c_str(), two.c_str()));
    SAME(run.Stat(two).st_ino, run.Stat(run.Path(name)).st_ino);
    SAME(run.Stat(two).st_nlink, nlink_t{2});
  }
  OK(linkat(AT_FDCWD, run.Path("symlink").c_str(), AT_FDCWD, run.Path("followed").c_str(),
            AT_SYMLINK_FOLLOW));
  SAME(run.Stat(run.Path("followed")).st_ino, run.Stat(run.Path("fifo")).st_ino);
  FAILS(EPERM, link(run.MakeDirectory("d").c_str(), run.Path("d2").c_str()));
}

POSIX_CHECK(unlink, AllKindsButDirectories) {
  run.MakeFile("file");
  OK(mkfifo(run.Path("fifo").c_str(), 0644));
  OK(symlink("file", run.Path("symlink").c_str()));
  OK(mknod(run.Path("device").c_str(), S_IFBLK | 0600, 0x103));
  run.MakeDirectory("d");
  for (const char* name : {"symlink", "fifo", "device", "file"}) {
    OK(unlink(run.Path(name).c_str()));
    FAILS(ENOENT, unlink(run.Path(name).c_str()));
  }
  FAILS(EISDIR, unlink(run.Path("d").c_str()));
  SAME(run.Names(run.directory()).size(), size_t{1});
}

POSIX_CHECK(unlink, OpenFilesLiveOn) {
  const std::string path = run.MakeFile("file", "data");
  const Fd fd(path, O_RDWR);
  const Fd second(path, O_RDONLY);
  OK(unlink(path.c_str()));
  struct stat st;
  OK(fstat(fd, &st));
  SAME(st.st_nlink, nlink_t{0});
  SAME(pwrite(fd, "more", 4, 4), ssize_t{4});
  OK(ftruncate(fd, 7));
  OK(fchmod(fd, 0600));
  OK(fsync(fd));
  char buffer[16] = {};
  SAME(pread(second, buffer, sizeof(buffer), 0), ssize_t{7});
  SAME(std::string(buffer), "datamor");
  run.MakeFile("file", "another");
  SAME(pread(second, buffer, sizeof(buffer), 0), ssize_t{7});
  SAME(std::string(buffer), "datamor");
  FAILS(ENOENT, linkat(AT_FDCWD, ("/proc/self/fd/" + std::to_string(fd)).c_str(), AT_FDCWD,
                       run.Path("again").c_str(), AT_SYMLINK_FOLLOW));
}

POSIX_CHECK(unlink, StickyDirectoriesProtectFilesOfOthers) {
  const struct {
    uid_t directory, file;
    int error;
  } cases[] = {{kBob.uid, kBob.uid, EPERM},
               {kBob.uid, kAlice.uid, 0},
               {kAlice.uid, kBob.uid, 0},
               {0, kBob.uid, EPERM}};
  for (const auto& test : cases) {
    run.MakeDirectory("d", 01777);
    run.MakeFile("d/file", "", 0666);
    run.MakeDirectory("d/directory", 0777);
    run.MakeFile("d/victim", "", 0666);
    for (const char* name : {"d/file", "d/directory", "d/victim"})
      OK(chown(run.Path(name).c_str(), test.file, 0));
    OK(chown(run.Path("d").c_str(), test.directory, 0));
    const std::string mine = run.Path("mine");
    run.As(kAlice, [&] {
      OK(chmod(mine.c_str(), 0666) == 0 || errno == ENOENT ? 0 : -1);
      SAME(OpenError(mine, O_CREAT | O_WRONLY), 0);
      FAILS(test.error, rename(mine.c_str(), run.Path("d/victim").c_str()));
      FAILS(test.error, rename(run.Path("d/file").c_str(), run.Path("d/renamed").c_str()));
      FAILS(test.error, rename(run.Path("d/directory").c_str(), run.Path("d/renamed2").c_str()));
      FAILS(test.error, unlink(run.Path(test.error != 0 ? "d/file" : "d/renamed").c_str()));
      FAILS(test.error, rmdir(run.Path(test.error != 0 ? "d/directory" : "d/renamed2").c_str()));
    });
    std::vector<std::string> left = run.Names(run.Path("d"));
    SAME(left.size(), test.error != 0 ? size_t{3} : size_t{1});
    for (const std::string& name : left) OK(remove(run.Path("d/" + name).c_str()));
    OK(rmdir(run.Path("d").c_str()));
  }
}

POSIX_CHECK(rmdir, EmptyDirectoriesOnly) {
  run.MakeDirectory("d");
  run.MakeDirectory("d/e");
  run.MakeFile("file");
  OK(symlink("d/e", run.Path("link").c_str()));
  FAILS(ENOTEMPTY, rmdir(run.Path("d").c_str()));
  FAILS(ENOTDIR, rmdir(run.Path("file").c_str()));
  FAILS(ENOTDIR, rmdir(run.Path("link").c_str()));
  FAILS(EINVAL, rmdir(run.Path("d/.").c_str()));
  FAILS(ENOTEMPTY, rmdir(run.Path("d/e/..").c_str()));
  SAME(run.TimesChangedBy(run.Path("d"), [&] { OK(rmdir(run.Path("d/e").c_str())); }),
       kMtime | kCtime);
  SAME(run.Stat(run.Path("d")).st_nlink, nlink_t{2});
  for (const char* kind : {"file", "fifo", "symlink"}) {
    const std::string path = run.Path("d/" + std::string(kind));
    if (*kind == 's') OK(symlink("x", path.c_str()));
    if (std::string(kind) == "fifo") OK(mkfifo(path.c_str(), 0644));
    if (std::string(kind) == "file") run.MakeFile("d/file");
    FAILS(ENOTEMPTY, rmdir(run.Path("d").c_str()));
    OK(unlink(path.c_str()));
  }
  OK(rmdir(run.Path("d").c_str()));
}

POSIX_CHECK(rmdir, NothingIsMadeInWhatWasRemoved) {
  const std::string path = run.MakeDirectory("d");
  const Fd dir(path, O_RDONLY | O_DIRECTORY);
  run.MakeFile("file");
  OK(rmdir(path.c_str()));
  FAILS(ENOENT, openat(dir, "x", O_CREAT | O_WRONLY, 0644));
  FAILS(ENOENT, mkdirat(dir, "x", 0755));
  FAILS(ENOENT, symlinkat("x", dir, "x"));
  FAILS(ENOENT, linkat(AT_FDCWD, run.Path("file").c_str(), dir, "x", 0));
  FAILS(ENOENT, renameat(AT_FDCWD, run.Path("file").c_str(), dir, "x"));
  FAILS(ENOENT, openat(dir, "x", O_RDONLY));
  struct stat st;
  OK(fstat(dir, &st));
  SAME(st.st_nlink, nlink_t{0});
  OK(fchmod(dir, 0700));
}

}  // namespace rw::testing
