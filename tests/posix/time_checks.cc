// utimensat, and which times reading changes.
#include <sys/mman.h>

#include "tests/posix/check.h"

namespace rw::testing {
namespace {

constexpr timespec kNow{0, UTIME_NOW};
constexpr timespec kOmit{0, UTIME_OMIT};

int SetTimes(const std::string& path, timespec atime, timespec mtime, int flags = 0) {
  const timespec times[2] = {atime, mtime};
  return utimensat(AT_FDCWD, path.c_str(), times, flags);
}

void ExpectTimes(CheckRun& run, const std::string& path, timespec atime, timespec mtime) {
  const struct stat st = run.Stat(path);
  SAME(st.st_atim.tv_sec, atime.tv_sec);
  SAME(st.st_atim.tv_nsec, atime.tv_nsec);
  SAME(st.st_mtim.tv_sec, mtime.tv_sec);
  SAME(st.st_mtim.tv_nsec, mtime.tv_nsec);
}

}  // namespace

POSIX_CHECK(utimensat, NanosecondsBefore1970AndAfter2038) {
  run.MakeFile("file");
  run.MakeDirectory("directory");
  OK(mkfifo(run.Path("fifo").c_str(), 0644));
  for (const char* name : {"file", "directory", "fifo"}) {
    const std::string path = run.Path(name);
    for (const time_t second : {0L, 1L, 1'900'000'000L, 2'147'483'648L, 4'294'967'296L,
                                10'000'000'000L, -1L, -1'000'000'000L}) {
      const timespec atime{second, 999'999'999};
      const timespec mtime{second + 1, 1};
      SAME(run.TimesChangedBy(path, [&] { OK(SetTimes(path, atime, mtime)); }),
           kAtime | kMtime | kCtime);
      ExpectTimes(run, path, atime, mtime);
    }
  }
}

VOLUME_CHECK(utimensat, AnySecond) {
  const std::string path = run.MakeFile("file");
  for (const time_t second : {-62'135'596'800L, 253'402'300'799L, 1'000'000'000'000'000L}) {
    OK(SetTimes(path, {second, 7}, {second, 8}));
    ExpectTimes(run, path, {second, 7}, {second, 8});
  }
}

POSIX_CHECK(utimensat, NowAndOmit) {
  const std::string path = run.MakeFile("file");
  const timespec old{1000, 1};
  OK(SetTimes(path, old, old));
  SAME(run.TimesChangedBy(path, [&] { OK(SetTimes(path, kOmit, {2000, 2})); }), kMtime | kCtime);
  ExpectTimes(run, path, old, {2000, 2});
  SAME(run.TimesChangedBy(path, [&] { OK(SetTimes(path, {3000, 3}, kOmit)); }), kAtime | kCtime);
  ExpectTimes(run, path, {3000, 3}, {2000, 2});
  SAME(run.TimesChangedBy(path, [&] { OK(SetTimes(path, kOmit, kOmit)); }), kNoTime);
  OK(SetTimes(path, kNow, kOmit));
  THAT(run.Stat(path).st_atim.tv_sec > 1'000'000'000);
  SAME(run.Stat(path).st_mtim.tv_sec, time_t{2000});
  OK(SetTimes(path, old, kNow));
  THAT(run.Stat(path).st_mtim.tv_sec > 1'000'000'000);
  OK(SetTimes(path, old, old));
  OK(utimensat(AT_FDCWD, path.c_str(), nullptr, 0));
  THAT(run.Stat(path).st_atim.tv_sec > 1'000'000'000);
  FAILS(EINVAL, SetTimes(path, {0, 1'000'000'000}, kNow));
  FAILS(EINVAL, SetTimes(path, {0, -1}, kNow));
}

POSIX_CHECK(utimensat, OfASymlinkOrOfWhatItLeadsTo) {
  run.MakeFile("file");
  OK(symlink("file", run.Path("link").c_str()));
  OK(SetTimes(run.Path("link"), {1, 1}, {2, 2}));
  OK(SetTimes(run.Path("link"), {3, 3}, {4, 4}, AT_SYMLINK_NOFOLLOW));
  ExpectTimes(run, run.Path("file"), {1, 1}, {2, 2});
  SAME(run.Stat(run.Path("link")).st_mtim.tv_sec, time_t{4});
}

POSIX_CHECK(utimensat, WhoMayWriteMaySayNowAndOnlyOwnersAnythingElse) {
  const std::string path = run.MakeFile("file", "", 0666);
  const auto expect = [&](int now, int other) {
    FAILS(now, SetTimes(path, kNow, kNow));
    FAILS(now, utimensat(AT_FDCWD, path.c_str(), nullptr, 0));
    FAILS(other, SetTimes(path, {1, 1}, {1, 1}));
    FAILS(other, SetTimes(path, kNow, {1, 1}));
    FAILS(other, SetTimes(path, kNow, kOmit));
    FAILS(0, SetTimes(path, kOmit, kOmit));
  };
  run.As(kAlice, [&] { expect(0, EPERM); });
  OK(chmod(path.c_str(), 0444));
  run.As(kAlice, [&] { expect(EACCES, EPERM); });
  OK(chown(path.c_str(), kAlice.uid, 0));
  run.As(kAlice, [&] { expect(0, 0); });
}

POSIX_CHECK(utimensat, ChangesOfContentsAreSeenInTimesAtOnce) {
  const std::string path = run.MakeFile("file", "data");
  OK(SetTimes(path, {1000, 0}, {1000, 0}));
  const Fd fd(path, O_RDWR);
  SAME(pwrite(fd, "x", 1, 0), ssize_t{1});
  struct stat by_fd;
  OK(fstat(fd, &by_fd));
  THAT(by_fd.st_mtim.tv_sec > 1'000'000'000);
  const struct stat by_path = run.Stat(path);
  SAME(by_path.st_mtim.tv_sec, by_fd.st_mtim.tv_sec);
  SAME(by_path.st_mtim.tv_nsec, by_fd.st_mtim.tv_nsec);
}

// The README's policy: reading is not history.
VOLUME_CHECK(utimensat, ReadingChangesNoTime) {
  const std::string path = run.MakeFile("file", "data");
  run.MakeDirectory("d");
  run.MakeFile("d/inside");
  OK(symlink("file", run.Path("link").c_str()));
  // Older than its mtime, which is when `relatime` would change it.
  for (const char* name : {"file", "d", "link"})
    OK(SetTimes(run.Path(name), {1000, 0}, kOmit, AT_SYMLINK_NOFOLLOW));
  const auto read_all = [&] {
    run.Contents(path);
    run.Names(run.Path("d"));
    char buffer[10];
    OK(readlink(run.Path("link").c_str(), buffer, sizeof(buffer)));
    const Fd fd(path, O_RDONLY);
    void* mapping = mmap(nullptr, 4096, PROT_READ, MAP_SHARED, fd, 0);
    SAME(static_cast<volatile char*>(mapping)[0], 'd');
    munmap(mapping, 4096);
  };
  for (const char* name : {"file", "d", "link"})
    SAME(run.TimesChangedBy(run.Path(name), read_all), kNoTime);
}

}  // namespace rw::testing
