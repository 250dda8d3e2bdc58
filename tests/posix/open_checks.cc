// open: what flags do, and who may.
#include <sys/mman.h>

#include "tests/posix/check.h"

namespace rw::testing {

POSIX_CHECK(open, EachClassHasItsBits) {
  const std::string path = run.MakeFile("file");
  OK(chown(path.c_str(), kAlice.uid, kBob.gid));
  const User friend_of_bob{4711, 4711, {kBob.gid}};
  const User stranger{4711, 4711, {4711}};
  const struct {
    const User* user;
    int shift;
  } classes[] = {{&kAlice, 6}, {&friend_of_bob, 3}, {&stranger, 0}};
  for (const auto& one : classes) {
    for (mode_t bits = 0; bits < 8; ++bits) {
      // Others have what this class lacks: only the own class counts.
      OK(chmod(path.c_str(), (0777 & ~(7U << one.shift)) | bits << one.shift));
      run.As(*one.user, [&] {
        const int readable = (bits & 4) != 0 ? 0 : EACCES;
        const int writable = (bits & 2) != 0 ? 0 : EACCES;
        SAME(OpenError(path, O_RDONLY), readable);
        SAME(OpenError(path, O_WRONLY), writable);
        SAME(OpenError(path, O_RDWR), readable != 0 ? readable : writable);
        SAME(OpenError(path, O_RDONLY | O_TRUNC), readable != 0 ? readable : writable);
        FAILS((bits & 1) != 0 ? 0 : EACCES, access(path.c_str(), X_OK));
      });
    }
  }
}

POSIX_CHECK(open, RootNeedsNoBitsButOneToExecute) {
  const std::string path = run.MakeFile("file", "", 0);
  SAME(OpenError(path, O_RDWR), 0);
  FAILS(EACCES, access(path.c_str(), X_OK));
  OK(chmod(path.c_str(), 0001));
  OK(access(path.c_str(), X_OK));
}

POSIX_CHECK(open, CreatingNeedsNoBitsOfWhatIsMade) {
  run.As(kAlice, [&] {
    const Fd fd(run.Path("x"), O_CREAT | O_RDWR, 0);
    THAT(fd >= 0);
    SAME(write(fd, "x", 1), ssize_t{1});
    SAME(OpenError(run.Path("x"), O_RDONLY), EACCES);
  });
}

POSIX_CHECK(open, Directories) {
  run.MakeDirectory("d");
  run.MakeFile("f");
  SAME(OpenError(run.Path("d"), O_RDONLY), 0);
  SAME(OpenError(run.Path("d"), O_WRONLY), EISDIR);
  SAME(OpenError(run.Path("d"), O_RDWR), EISDIR);
  SAME(OpenError(run.Path("d"), O_RDONLY | O_CREAT), EISDIR);
  SAME(OpenError(run.Path("d"), O_RDONLY | O_TRUNC), EISDIR);
  SAME(OpenError(run.Path("f"), O_RDONLY | O_DIRECTORY), ENOTDIR);
  SAME(OpenError(run.Path("x/"), O_WRONLY | O_CREAT), EISDIR);
  SAME(OpenError(run.Path("f/"), O_RDONLY), ENOTDIR);
  const Fd fd(run.Path("d"), O_RDONLY);
  char byte;
  FAILS(EISDIR, read(fd, &byte, 1));
  FAILS(EBADF, write(fd, "x", 1));
}

POSIX_CHECK(open, Symlinks) {
  run.MakeFile("file", "data");
  OK(symlink("file", run.Path("link").c_str()));
  OK(symlink("new", run.Path("dangling").c_str()));
  SAME(run.Contents(run.Path("link")), "data");
  SAME(OpenError(run.Path("link"), O_RDONLY | O_NOFOLLOW), ELOOP);
  SAME(OpenError(run.Path("dangling"), O_CREAT | O_EXCL | O_WRONLY), EEXIST);
  SAME(OpenError(run.Path("dangling"), O_CREAT | O_WRONLY), 0);
  THAT(S_ISREG(run.Stat(run.Path("new")).st_mode));
}

POSIX_CHECK(open, ExistingFilesAreNotMadeAgain) {
  const std::string path = run.MakeFile("file", "data", 0604);
  const ino_t ino = run.Stat(path).st_ino;
  SAME(run.TimesChangedBy(run.directory(), [&] { SAME(OpenError(path, O_CREAT | O_RDWR), 0); }),
       kNoTime);
  SAME(run.TimesChangedBy(path, [&] { SAME(OpenError(path, O_CREAT | O_RDWR, 0777), 0); }),
       kNoTime);
  SAME(OpenError(path, O_CREAT | O_EXCL | O_RDWR), EEXIST);
  SAME(run.Contents(path), "data");
  SAME(run.Mode(path), mode_t{0604});
  SAME(run.Stat(path).st_ino, ino);
}

POSIX_CHECK(open, Truncating) {
  const std::string path = run.MakeFile("file", "data");
  SAME(run.TimesChangedBy(path, [&] { SAME(OpenError(path, O_WRONLY | O_TRUNC), 0); }),
       kMtime | kCtime);
  SAME(run.Stat(path).st_size, off_t{0});
}

POSIX_CHECK(open, WithoutAccessTimesIsForOwners) {
  const std::string path = run.MakeFile("file", "", 0666);
  run.As(kAlice, [&] { SAME(OpenError(path, O_RDONLY | O_NOATIME), EPERM); });
  SAME(OpenError(path, O_RDONLY | O_NOATIME), 0);
}

POSIX_CHECK(open, PathsOnly) {
  const std::string path = run.MakeFile("file", "data");
  const Fd fd(path, O_PATH);
  THAT(fd >= 0);
  char byte;
  FAILS(EBADF, read(fd, &byte, 1));
  FAILS(EBADF, fchmod(fd, 0600));
  struct stat st;
  OK(fstat(fd, &st));
  SAME(run.Contents("/proc/self/fd/" + std::to_string(fd)), "data");
}

POSIX_CHECK(open, AppendingFromTwoProcessesLosesNothing) {
  constexpr int kLines = 500;
  const std::string path = run.MakeFile("file");
  const auto append = [&](char letter) {
    const Fd fd(path, O_WRONLY | O_APPEND);
    for (int i = 0; i < kLines; ++i) {
      const std::string line = std::string(static_cast<size_t>(1 + i % 97), letter) + "\n";
      SAME(pwrite(fd, line.data(), line.size(), 0), static_cast<ssize_t>(line.size()));
    }
  };
  const auto child = run.Start([&] { append('a'); });
  append('b');
  run.Wait(child);
  std::istringstream lines(run.Contents(path));
  int count[2] = {};
  for (std::string line; std::getline(lines, line);) {
    int& lines_of_one = count[line.front() == 'b' ? 1 : 0];
    SAME(line, std::string(static_cast<size_t>(1 + lines_of_one % 97), line.front()));
    ++lines_of_one;
  }
  SAME(count[0], kLines);
  SAME(count[1], kLines);
}

POSIX_CHECK(open, DirectlyAndThroughTheCacheAreTheSame) {
  constexpr size_t kBytes = 64 << 10;
  void* memory = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  char* buffer = static_cast<char*>(memory);
  const std::string path = run.MakeFile("file", std::string(kBytes, 'a'));
  {
    const Fd direct(path, O_RDWR | O_DIRECT);
    THAT(direct >= 0);
    SAME(pread(direct, buffer, kBytes, 0), static_cast<ssize_t>(kBytes));
    THAT(std::string(buffer, kBytes) == std::string(kBytes, 'a'));
    std::fill(buffer, buffer + kBytes, 'b');
    SAME(pwrite(direct, buffer, 4096, 8192), ssize_t{4096});
    SAME(pwrite(direct, buffer, kBytes, kBytes), static_cast<ssize_t>(kBytes));
    const std::string expected = std::string(8192, 'a') + std::string(4096, 'b') +
                                 std::string(kBytes - 12288, 'a') + std::string(kBytes, 'b');
    THAT(run.Contents(path) == expected);
    SAME(pread(direct, buffer, kBytes, 2 * kBytes), ssize_t{0});
  }
  munmap(memory, kBytes);
}

}  // namespace rw::testing
