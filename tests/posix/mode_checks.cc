// chmod and chown: what they change, who may, and what they take away.
#include "tests/posix/check.h"

namespace rw::testing {
namespace {

// A file, a directory and a fifo of the user.
std::vector<std::string> ThingsOf(CheckRun& run, const User& user) {
  std::vector<std::string> paths = {run.MakeFile("file"), run.MakeDirectory("directory"),
                                    run.Path("fifo")};
  OK(mkfifo(paths[2].c_str(), 0644));
  for (const std::string& path : paths) OK(chown(path.c_str(), user.uid, user.gid));
  return paths;
}

}  // namespace

POSIX_CHECK(chmod, SetsAllBitsAndTheChangeTime) {
  for (const std::string& path : ThingsOf(run, kAlice)) {
    for (const mode_t mode : {0U, 0111U, 0644U, 01777U, 02755U, 04711U, 07777U}) {
      SAME(run.TimesChangedBy(path, [&] { OK(chmod(path.c_str(), mode)); }), unsigned{kCtime});
      SAME(run.Mode(path), mode);
    }
  }
  const Fd fd(run.Path("file"), O_RDONLY);
  SAME(run.TimesChangedBy(run.Path("file"), [&] { OK(fchmod(fd, 0640)); }), unsigned{kCtime});
  SAME(run.Mode(run.Path("file")), mode_t{0640});
}

POSIX_CHECK(chmod, FollowsSymlinks) {
  run.MakeFile("file", "", 0644);
  OK(symlink("file", run.Path("link").c_str()));
  OK(chmod(run.Path("link").c_str(), 0600));
  SAME(run.Mode(run.Path("file")), mode_t{0600});
  SAME(run.Mode(run.Path("link")), mode_t{0777});
  FAILS(EOPNOTSUPP, fchmodat(AT_FDCWD, run.Path("link").c_str(), 0600, AT_SYMLINK_NOFOLLOW));
}

POSIX_CHECK(chmod, IsForTheOwner) {
  for (const std::string& path : ThingsOf(run, kAlice)) {
    run.As(kAlice, [&] { OK(chmod(path.c_str(), 0777)); });
    run.As(kBob, [&] {
      SAME(run.TimesChangedBy(path, [&] { FAILS(EPERM, chmod(path.c_str(), 0700)); }), kNoTime);
    });
    SAME(run.Mode(path), mode_t{0777});
  }
}

POSIX_CHECK(chmod, SetgidOfAGroupOfOthersIsDropped) {
  const std::string path = run.MakeFile("file");
  OK(chown(path.c_str(), kAlice.uid, kBob.gid));
  run.As(kAlice, [&] { OK(chmod(path.c_str(), 06755)); });
  SAME(run.Mode(path), mode_t{04755});
  OK(chown(path.c_str(), kAlice.uid, kAlice.groups[1]));
  run.As(kAlice, [&] { OK(chmod(path.c_str(), 02755)); });
  SAME(run.Mode(path), mode_t{02755});
}

POSIX_CHECK(chown, SetsOwnerGroupAndTheChangeTime) {
  for (const std::string& path : ThingsOf(run, kAlice)) {
    SAME(run.TimesChangedBy(path, [&] { OK(chown(path.c_str(), 123, 456)); }), unsigned{kCtime});
    OK(chown(path.c_str(), 789, -1));
    SAME(run.Stat(path).st_gid, gid_t{456});
    OK(chown(path.c_str(), -1, 1'000'000'000));
    SAME(run.Stat(path).st_uid, uid_t{789});
    SAME(run.Stat(path).st_gid, gid_t{1'000'000'000});
    OK(chown(path.c_str(), -1, -1));
    SAME(run.Stat(path).st_uid, uid_t{789});
  }
}

POSIX_CHECK(chown, OfASymlinkOrOfWhatItLeadsTo) {
  run.MakeFile("file");
  OK(symlink("file", run.Path("link").c_str()));
  OK(chown(run.Path("link").c_str(), 1, 2));
  OK(lchown(run.Path("link").c_str(), 3, 4));
  SAME(run.Stat(run.Path("file")).st_uid, uid_t{1});
  SAME(run.Stat(run.Path("link")).st_uid, uid_t{3});
  SAME(run.Stat(run.Path("link")).st_gid, gid_t{4});
}

POSIX_CHECK(chown, OwnersMayOnlyGiveToTheirGroups) {
  for (const std::string& path : ThingsOf(run, kAlice)) {
    run.As(kAlice, [&] {
      OK(chown(path.c_str(), -1, kAlice.groups[1]));
      OK(chown(path.c_str(), kAlice.uid, kAlice.gid));
      FAILS(EPERM, chown(path.c_str(), kBob.uid, -1));
      FAILS(EPERM, chown(path.c_str(), kBob.uid, kAlice.gid));
      FAILS(EPERM, chown(path.c_str(), -1, kBob.gid));
    });
    run.As(kBob, [&] {
      FAILS(EPERM, chown(path.c_str(), kBob.uid, kBob.gid));
      FAILS(EPERM, chown(path.c_str(), -1, kBob.gid));
    });
    SAME(run.Stat(path).st_uid, kAlice.uid);
    SAME(run.Stat(path).st_gid, kAlice.gid);
  }
}

POSIX_CHECK(chown, ClearsSetuidAndSetgidOfProgramsEvenForRoot) {
  const std::string path = run.MakeFile("file");
  OK(chown(path.c_str(), kAlice.uid, kAlice.gid));
  for (const bool by_owner : {false, true}) {
    OK(chmod(path.c_str(), 06755));
    const auto change = [&] { OK(chown(path.c_str(), -1, kAlice.groups[by_owner ? 1 : 0])); };
    if (by_owner) {
      run.As(kAlice, change);
    } else {
      change();
    }
    SAME(run.Mode(path), mode_t{0755});
  }
}

POSIX_CHECK(chown, LeavesSetgidThatIsNoProgramsAndDirectoriesAlone) {
  const std::string path = run.MakeFile("file", "", 02644);
  OK(chown(path.c_str(), 1, 1));
  SAME(run.Mode(path), mode_t{02644});
  const std::string dir = run.MakeDirectory("d", 07777);
  OK(chown(dir.c_str(), 1, 1));
  SAME(run.Mode(dir), mode_t{07777});
}

POSIX_CHECK(chmod, ContentsThatOthersChangeTakeSetuidAway) {
  const std::string path = run.MakeFile("file", "data");
  const Fd fd(path, O_RDWR);
  const std::vector<std::function<void()>> changes = {
      [&] { SAME(pwrite(fd, "x", 1, 0), ssize_t{1}); },
      [&] { OK(ftruncate(fd, 2)); },
      [&] { OK(truncate(path.c_str(), 6)); },
      [&] { SAME(OpenError(path, O_WRONLY | O_TRUNC), 0); },
      [&] { OK(fallocate(fd, 0, 0, 10)); },
  };
  for (const auto& change : changes) {
    OK(chmod(path.c_str(), 06777));
    run.As(kAlice, change);
    SAME(run.Mode(path), mode_t{0777});
    OK(chmod(path.c_str(), 06777));
    change();  // root has CAP_FSETID
    SAME(run.Mode(path), mode_t{06777});
  }
  OK(chmod(path.c_str(), 06777));
  run.As(kAlice, [&] { SAME(write(fd, "", 0), ssize_t{0}); });
  SAME(run.Mode(path), mode_t{06777});
}

}  // namespace rw::testing
