// truncate, ftruncate, posix_fallocate, fallocate, holes, and the limits of sizes.
#include <linux/falloc.h>
#include <signal.h>
#include <stdint.h>
#include <sys/resource.h>

#include "tests/posix/check.h"

namespace rw::testing {
namespace {

constexpr off_t kMebi = 1 << 20;
constexpr off_t kPiece = 64 << 10;  // larger than any block

std::string ContentsOf(int fd) {
  struct stat st;
  if (fstat(fd, &st) != 0) return "?";
  std::string bytes(static_cast<size_t>(st.st_size), '#');
  return pread(fd, bytes.data(), bytes.size(), 0) == st.st_size ? bytes : "?";
}

}  // namespace

POSIX_CHECK(truncate, CutsAndFillsWithZeros) {
  const std::string path = run.MakeFile("file", "0123456789");
  OK(truncate(path.c_str(), 5));
  SAME(run.Contents(path), "01234");
  OK(truncate(path.c_str(), 8));
  SAME(run.Contents(path), std::string("01234\0\0\0", 8));
  const Fd fd(path, O_RDWR);
  OK(ftruncate(fd, 2));
  OK(ftruncate(fd, 100'000));
  SAME(run.Contents(path), "01" + std::string(99'998, '\0'));
  OK(ftruncate(fd, 0));
  SAME(run.Stat(path).st_size, off_t{0});
  SAME(run.Stat(path).st_blocks, blkcnt_t{0});
}

POSIX_CHECK(truncate, Times) {
  const std::string path = run.MakeFile("file", "0123456789");
  const Fd fd(path, O_RDWR);
  for (const off_t size : {20, 5, 5, 0}) {
    SAME(run.TimesChangedBy(path, [&] { OK(ftruncate(fd, size)); }), kMtime | kCtime);
    SAME(run.TimesChangedBy(path, [&] { OK(truncate(path.c_str(), size)); }), kMtime | kCtime);
  }
  SAME(run.TimesChangedBy(path, [&] { FAILS(EINVAL, ftruncate(fd, -1)); }), kNoTime);
  SAME(run.TimesChangedBy(path, [&] { SAME(pwrite(fd, "x", 1, 0), ssize_t{1}); }), kMtime | kCtime);
  SAME(run.TimesChangedBy(path, [&] { SAME(pwrite(fd, "", 0, 0), ssize_t{0}); }), kNoTime);
}

POSIX_CHECK(truncate, Refusals) {
  const std::string path = run.MakeFile("file", "data", 0444);
  run.MakeDirectory("d");
  OK(mkfifo(run.Path("fifo").c_str(), 0666));
  FAILS(EINVAL, truncate(path.c_str(), -1));
  FAILS(EISDIR, truncate(run.Path("d").c_str(), 0));
  FAILS(EINVAL, truncate(run.Path("fifo").c_str(), 0));
  run.As(kAlice, [&] { FAILS(EACCES, truncate(path.c_str(), 0)); });
  const Fd read_only(path, O_RDONLY);
  FAILS(EINVAL, ftruncate(read_only, 0));
}

POSIX_CHECK(truncate, TheLimitOfTheProcess) {
  const std::string path = run.MakeFile("file");
  run.InChild([&] {
    signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{1000, 1000};
    OK(setrlimit(RLIMIT_FSIZE, &limit));
    const Fd fd(path, O_RDWR);
    FAILS(EFBIG, ftruncate(fd, 1001));
    FAILS(EFBIG, truncate(path.c_str(), 1001));
    SAME(pwrite(fd, std::string(20, 'x').data(), 20, 990), ssize_t{10});
    FAILS(EFBIG, pwrite(fd, "x", 1, 1000));
  });
  SAME(run.Stat(path).st_size, off_t{1000});
}

POSIX_CHECK(posix_fallocate, MakesRoomAndKeepsContents) {
  const std::string path = run.MakeFile("file", "data");
  const Fd fd(path, O_RDWR);
  SAME(run.TimesChangedBy(path, [&] { SAME(posix_fallocate(fd, 0, 100'000), 0); }) & kCtime,
       unsigned{kCtime});
  SAME(run.Contents(path), "data" + std::string(99'996, '\0'));
  SAME(posix_fallocate(fd, 0, 10), 0);
  SAME(run.Stat(path).st_size, off_t{100'000});
  SAME(posix_fallocate(fd, 0, 0), EINVAL);
  SAME(posix_fallocate(fd, -1, 10), EINVAL);
  SAME(posix_fallocate(fd, 0, -1), EINVAL);
  SAME(posix_fallocate(Fd(path, O_RDONLY), 0, 10), EBADF);
  SAME(posix_fallocate(Fd(run.directory(), O_RDONLY), 0, 10), EBADF);
  SAME(posix_fallocate(fd, INT64_MAX, 1), EFBIG);
  int pipe_ends[2];
  OK(pipe(pipe_ends));
  SAME(posix_fallocate(pipe_ends[1], 0, 10), ESPIPE);
  close(pipe_ends[0]);
  close(pipe_ends[1]);
}

POSIX_CHECK(fallocate, Modes) {
  const std::string path = run.MakeFile("file", std::string(3 * kPiece, 'a'));
  const Fd fd(path, O_RDWR);
  OK(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 10 * kPiece));
  SAME(run.Stat(path).st_size, 3 * kPiece);
  OK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, kPiece + 1, kPiece - 1));
  std::string expected(3 * kPiece, 'a');
  std::fill(expected.begin() + kPiece + 1, expected.begin() + 2 * kPiece, '\0');
  THAT(ContentsOf(fd) == expected);
  OK(fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 3 * kPiece - 5, kPiece));
  std::fill(expected.end() - 5, expected.end(), '\0');
  THAT(ContentsOf(fd) == expected);
  OK(fallocate(fd, FALLOC_FL_ZERO_RANGE, 10, 4 * kPiece));
  expected.resize(4 * kPiece + 10, '\0');
  std::fill(expected.begin() + 10, expected.end(), '\0');
  THAT(ContentsOf(fd) == expected);
  FAILS(EOPNOTSUPP, fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, kPiece));
  FAILS(EINVAL, fallocate(fd, 0, 0, 0));
  FAILS(EBADF, fallocate(Fd(path, O_RDONLY), 0, 0, 10));
}

// The README's table says so; the kernel does not pass them on.
VOLUME_CHECK(fallocate, ModesThatFuseDoesNotKnow) {
  const Fd fd(run.MakeFile("file", std::string(3 * kPiece, 'a')), O_RDWR);
  for (const int mode : {FALLOC_FL_COLLAPSE_RANGE, FALLOC_FL_INSERT_RANGE, FALLOC_FL_UNSHARE_RANGE})
    FAILS(EOPNOTSUPP, fallocate(fd, mode, 0, kPiece));
  SAME(ContentsOf(fd), std::string(3 * kPiece, 'a'));
}

POSIX_CHECK(holes, AreFoundAndReadAsZeros) {
  const Fd fd(run.Path("file"), O_CREAT | O_RDWR);
  FAILS(ENXIO, lseek(fd, 0, SEEK_DATA));
  const std::string piece(kPiece, 'd');
  SAME(pwrite(fd, piece.data(), piece.size(), kMebi), kPiece);
  SAME(pwrite(fd, piece.data(), piece.size(), 3 * kMebi), kPiece);
  OK(ftruncate(fd, 5 * kMebi));
  SAME(lseek(fd, 0, SEEK_DATA), kMebi);
  SAME(lseek(fd, 0, SEEK_HOLE), off_t{0});
  SAME(lseek(fd, kMebi + 5, SEEK_DATA), kMebi + 5);
  SAME(lseek(fd, kMebi, SEEK_HOLE), kMebi + kPiece);
  SAME(lseek(fd, kMebi + kPiece, SEEK_DATA), 3 * kMebi);
  SAME(lseek(fd, 3 * kMebi, SEEK_HOLE), 3 * kMebi + kPiece);
  FAILS(ENXIO, lseek(fd, 4 * kMebi, SEEK_DATA));
  SAME(lseek(fd, 4 * kMebi, SEEK_HOLE), 4 * kMebi);
  FAILS(ENXIO, lseek(fd, 5 * kMebi, SEEK_HOLE));
  OK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, kMebi, kPiece));
  SAME(lseek(fd, 0, SEEK_DATA), 3 * kMebi);
  SAME(lseek(fd, 0, SEEK_END), 5 * kMebi);
  FAILS(EINVAL, lseek(fd, -1, SEEK_SET));
  std::string expected(5 * kMebi, '\0');
  expected.replace(3 * kMebi, kPiece, piece);
  THAT(ContentsOf(fd) == expected);
}

POSIX_CHECK(holes, TakeNoSpace) {
  const std::string path = run.Path("file");
  const Fd fd(path, O_CREAT | O_RDWR);
  constexpr off_t kTebi = off_t{1} << 40;
  OK(ftruncate(fd, kTebi));
  SAME(pwrite(fd, "x", 1, kTebi - 1), ssize_t{1});
  SAME(run.Stat(path).st_size, kTebi);
  THAT(run.Stat(path).st_blocks * 512 <= kMebi);
  char byte = '#';
  SAME(pread(fd, &byte, 1, kTebi / 2), ssize_t{1});
  SAME(byte, '\0');
  SAME(pread(fd, &byte, 1, kTebi - 1), ssize_t{1});
  SAME(byte, 'x');
  THAT(lseek(fd, 0, SEEK_DATA) >= kTebi - kPiece);
}

VOLUME_CHECK(holes, UpToTheLargestFile) {
  const std::string path = run.Path("file");
  const Fd fd(path, O_CREAT | O_RDWR);
  OK(ftruncate(fd, INT64_MAX));
  SAME(run.Stat(path).st_size, off_t{INT64_MAX});
  SAME(pwrite(fd, "x", 1, INT64_MAX - 1), ssize_t{1});
  FAILS(EINVAL, pwrite(fd, "x", 1, INT64_MAX));  // no offset can follow it
  FAILS(EINVAL, pwrite(fd, "yz", 2, INT64_MAX - 1));
  char byte;
  SAME(pread(fd, &byte, 1, INT64_MAX - 1), ssize_t{1});
  SAME(byte, 'x');
  SAME(lseek(fd, 0, SEEK_DATA), off_t{INT64_MAX - 1});
  FAILS(EFBIG, fallocate(fd, 0, INT64_MAX - 10, 20));
  OK(ftruncate(fd, 1));
  OK(ftruncate(fd, INT64_MAX));
  FAILS(ENXIO, lseek(fd, 0, SEEK_DATA));
}

}  // namespace rw::testing
