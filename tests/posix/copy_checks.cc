// copy_file_range, files without a name, and other ways in which files come to be.
#include <stdio.h>
#include <sys/sendfile.h>

#include "tests/posix/check.h"

namespace rw::testing {
namespace {

constexpr off_t kMebi = 1 << 20;

std::string Pattern(size_t count) {
  std::string out(count, '\0');
  for (size_t i = 0; i < count; ++i) out[i] = static_cast<char>(i * 31 + i / 251);
  return out;
}

int Link(int fd, const std::string& path) {
  return linkat(AT_FDCWD, ("/proc/self/fd/" + std::to_string(fd)).c_str(), AT_FDCWD, path.c_str(),
                AT_SYMLINK_FOLLOW);
}

}  // namespace

POSIX_CHECK(copy, ContentsAtAnyOffset) {
  const std::string bytes = Pattern(300'000);
  const Fd from(run.MakeFile("from", bytes), O_RDONLY);
  for (const off_t start : {0, 1, 4096, 131'071, 131'072, 299'999}) {
    for (const off_t to_start : {0, 7, 4096, 200'000}) {
      const std::string before(200'100, 'b');
      const std::string path = run.MakeFile("to", before);
      const Fd to(path, O_RDWR);
      off_t in = start;
      off_t out = to_start;
      size_t left = 150'000;
      for (ssize_t done; left > 0 && (done = copy_file_range(from, &in, to, &out, left, 0)) > 0;)
        left -= static_cast<size_t>(done);
      const std::string copied = bytes.substr(static_cast<size_t>(start), 150'000);
      SAME(in, start + static_cast<off_t>(copied.size()));
      std::string expected = before;
      if (expected.size() < static_cast<size_t>(to_start) + copied.size())
        expected.resize(static_cast<size_t>(to_start) + copied.size());
      expected.replace(static_cast<size_t>(to_start), copied.size(), copied);
      THAT(run.Contents(path) == expected);
      SAME(lseek(to, 0, SEEK_CUR), off_t{0});
    }
  }
}

POSIX_CHECK(copy, MovesTheOffsetsOfDescriptors) {
  const Fd from(run.MakeFile("from", "0123456789"), O_RDONLY);
  const Fd to(run.MakeFile("to"), O_RDWR);
  SAME(lseek(from, 4, SEEK_SET), off_t{4});
  SAME(copy_file_range(from, nullptr, to, nullptr, 100, 0), ssize_t{6});
  SAME(lseek(from, 0, SEEK_CUR), off_t{10});
  SAME(lseek(to, 0, SEEK_CUR), off_t{6});
  SAME(copy_file_range(from, nullptr, to, nullptr, 100, 0), ssize_t{0});
  SAME(run.Contents(run.Path("to")), "456789");
}

POSIX_CHECK(copy, WithinOneFile) {
  const std::string path = run.MakeFile("file", Pattern(2 * kMebi));
  const Fd fd(path, O_RDWR);
  off_t in = 0;
  off_t out = kMebi;
  SAME(copy_file_range(fd, &in, fd, &out, kMebi, 0), ssize_t{kMebi});
  const std::string half = Pattern(kMebi);
  THAT(run.Contents(path) == half + half);
  in = 0;
  out = kMebi - 1;
  FAILS(EINVAL, copy_file_range(fd, &in, fd, &out, kMebi, 0));
}

POSIX_CHECK(copy, Refusals) {
  const std::string path = run.MakeFile("file", "data");
  const Fd from(path, O_RDONLY);
  const Fd append(run.MakeFile("to"), O_WRONLY | O_APPEND);
  const Fd dir(run.directory(), O_RDONLY);
  FAILS(EBADF, copy_file_range(from, nullptr, append, nullptr, 4, 0));
  FAILS(EBADF, copy_file_range(from, nullptr, from, nullptr, 4, 0));
  FAILS(EISDIR, copy_file_range(dir, nullptr, Fd(run.Path("to"), O_WRONLY), nullptr, 4, 0));
  FAILS(EINVAL, copy_file_range(from, nullptr, Fd(run.Path("to"), O_WRONLY), nullptr, 4, 1));
  SAME(run.Stat(run.Path("to")).st_size, off_t{0});
}

POSIX_CHECK(copy, TimesAndTheSource) {
  const std::string from = run.MakeFile("from", "data");
  const std::string to = run.MakeFile("to");
  const Fd in(from, O_RDONLY);
  const Fd out(to, O_RDWR);
  SAME(run.TimesChangedBy(
           to, [&] { SAME(copy_file_range(in, nullptr, out, nullptr, 4, 0), ssize_t{4}); }),
       kMtime | kCtime);
  SAME(pwrite(out, "else", 4, 0), ssize_t{4});
  SAME(run.Contents(from), "data");
}

POSIX_CHECK(copy, BySendfile) {
  const std::string bytes = Pattern(300'000);
  const Fd from(run.MakeFile("from", bytes), O_RDONLY);
  const Fd to(run.MakeFile("to"), O_WRONLY);
  size_t done = 0;
  for (ssize_t count; (count = sendfile(to, from, nullptr, bytes.size())) > 0;)
    done += static_cast<size_t>(count);
  SAME(done, bytes.size());
  THAT(run.Contents(run.Path("to")) == bytes);
}

POSIX_CHECK(unnamed, FilesGetANameLater) {
  SAME(run.TimesChangedBy(run.directory(),
                          [&] {
                            const Fd fd(run.directory(), O_TMPFILE | O_RDWR);
                            THAT(fd >= 0);
                          }),
       kNoTime);
  umask(022);
  const Fd fd(run.directory(), O_TMPFILE | O_RDWR, 0666);
  umask(0);
  struct stat st;
  OK(fstat(fd, &st));
  SAME(st.st_nlink, nlink_t{0});
  SAME(st.st_mode, mode_t{S_IFREG | 0644});
  SAME(write(fd, "data", 4), ssize_t{4});
  THAT(run.Names(run.directory()).empty());
  SAME(run.TimesChangedBy(run.directory(), [&] { OK(Link(fd, run.Path("file"))); }),
       kMtime | kCtime);
  SAME(run.Contents(run.Path("file")), "data");
  SAME(run.Stat(run.Path("file")).st_ino, st.st_ino);
  SAME(run.Stat(run.Path("file")).st_nlink, nlink_t{1});
  OK(Link(fd, run.Path("second")));
  FAILS(EEXIST, Link(fd, run.Path("second")));
  OK(unlink(run.Path("file").c_str()));
  OK(unlink(run.Path("second").c_str()));
}

POSIX_CHECK(unnamed, Refusals) {
  SAME(OpenError(run.directory(), O_TMPFILE | O_RDONLY), EINVAL);
  SAME(OpenError(run.MakeFile("file"), O_TMPFILE | O_RDWR), ENOTDIR);
  SAME(OpenError(run.Path("absent"), O_TMPFILE | O_RDWR), ENOENT);
  const Fd exclusive(run.directory(), O_TMPFILE | O_EXCL | O_RDWR);
  THAT(exclusive >= 0);
  FAILS(ENOENT, Link(exclusive, run.Path("x")));
  run.MakeDirectory("closed");
  run.As(kAlice, [&] {
    SAME(OpenError(run.Path("closed"), O_TMPFILE | O_RDWR), EACCES);
    const Fd mine(run.directory(), O_TMPFILE | O_RDWR);
    struct stat st;
    OK(fstat(mine, &st));
    SAME(st.st_uid, kAlice.uid);
    OK(Link(mine, run.Path("alices")));
  });
}

}  // namespace rw::testing
