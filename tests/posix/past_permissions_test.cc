// Goal: `.rewind/<time>/` and views give nobody more than they had at that instant, and nobody
// less: who may read, list or pass is decided by the owners, permissions and ACLs of then.
//
// Method: files whose permissions change in both directions after an instant; processes of other
// users try everything in the present and in the past. What they get is a table.
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <fstream>
#include <functional>
#include <string>

#include "fs/store.h"
#include "metadata/coding.h"
#include "metadata/time_text.h"
#include "tests/support/mounted_volume.h"
#include "tests/support/system_clock.h"
#include "tests/support/temp_dir.h"

namespace rw::testing {
namespace {

constexpr uid_t kOwner = 1000, kOther = 2000;

// The errno of `call`, or 0, in a process of that user that is in no group but its own. It starts
// in `directory`, which that user could not reach from the root.
int As(uid_t user, const std::string& directory, const std::function<int()>& call) {
  const pid_t child = fork();
  if (child == 0) {
    if (chdir(directory.c_str()) != 0 || setgroups(0, nullptr) != 0 ||
        setresgid(user, user, user) != 0 || setresuid(user, user, user) != 0)
      _exit(255);
    _exit(call() < 0 ? errno : 0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int Read(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_NONBLOCK);
  if (fd < 0) return -1;
  char byte = 0;
  return read(fd, &byte, 1) == 1 ? 0 : -1;
}

int List(const std::string& path) {
  return open(path.c_str(), O_RDONLY | O_DIRECTORY) < 0 ? -1 : 0;
}

// user::rw-, user:<kOther>:r--, group::---, mask::r--, other::---
std::string AclForOther() {
  std::string acl;
  PutFixed<uint32_t>(&acl, 2);
  const auto put = [&acl](uint16_t tag, uint16_t permissions, uint32_t id) {
    PutFixed(&acl, tag);
    PutFixed(&acl, permissions);
    PutFixed(&acl, id);
  };
  put(0x01, 6, UINT32_MAX);
  put(0x02, 4, kOther);
  put(0x04, 0, UINT32_MAX);
  put(0x10, 4, UINT32_MAX);
  put(0x20, 0, UINT32_MAX);
  return acl;
}

class PastPermissionsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
    store_ = Store::Open({dir_.path() / "root", SystemNanoseconds});
    CreateRequest request;
    request.name = "v";
    store_->Create(request);
    mounted_ = std::make_unique<MountedVolume>(*store_, "v");
  }

  std::string At(const std::string& name) const { return mounted_->path() + "/" + name; }
  void MakeFile(const std::string& name, mode_t mode, uid_t owner = 0) const {
    std::ofstream(At(name)) << "secret";
    ASSERT_EQ(chown(At(name).c_str(), owner, owner), 0);
    ASSERT_EQ(chmod(At(name).c_str(), mode), 0);
  }
  void MakeDirectory(const std::string& name, mode_t mode) const {
    ASSERT_EQ(mkdir(At(name).c_str(), 0755), 0);
    MakeFile(name + "/inside", 0644);
    ASSERT_EQ(chmod(At(name).c_str(), mode), 0);
  }
  void Chmod(const std::string& name, mode_t mode) const {
    ASSERT_EQ(chmod(At(name).c_str(), mode), 0);
  }
  int ReadAs(uid_t user, const std::string& path) const {
    return As(user, mounted_->path(), [&path] { return Read(path); });
  }
  int ListAs(uid_t user, const std::string& path) const {
    return As(user, mounted_->path(), [&path] { return List(path); });
  }

  TempDir dir_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<MountedVolume> mounted_;
};

TEST_F(PastPermissionsTest, TheModesOfThenDecide) {
  MakeFile("opened", 0600);
  MakeFile("closed", 0644);
  MakeFile("given", 0600);
  MakeFile("taken", 0600, kOwner);
  MakeFile("removed", 0600);
  MakeDirectory("opened.d", 0700);
  MakeDirectory("closed.d", 0755);
  MakeFile("listed", 0600);
  const std::string acl = AclForOther();
  ASSERT_EQ(setxattr(At("listed").c_str(), "system.posix_acl_access", acl.data(), acl.size(), 0),
            0);
  const std::string past = ".rewind/" + FormatInstant(store_->Now()) + "/";
  Chmod("opened", 0644);
  Chmod("closed", 0600);
  ASSERT_EQ(chown(At("given").c_str(), kOwner, kOwner), 0);
  ASSERT_EQ(chown(At("taken").c_str(), 0, 0), 0);
  ASSERT_EQ(unlink(At("removed").c_str()), 0);
  Chmod("opened.d", 0755);
  Chmod("closed.d", 0700);
  ASSERT_EQ(removexattr(At("listed").c_str(), "system.posix_acl_access"), 0);
  Chmod("listed", 0600);

  struct Expected {
    uid_t user;
    const char* name;
    int present, past;
  };
  constexpr Expected kExpected[] = {
      {kOther, "opened", 0, EACCES},          {kOther, "closed", EACCES, 0},
      {kOther, "given", EACCES, EACCES},      {kOwner, "given", 0, EACCES},
      {kOther, "taken", EACCES, EACCES},      {kOwner, "taken", EACCES, 0},
      {kOther, "removed", ENOENT, EACCES},    {kOther, "opened.d/inside", 0, EACCES},
      {kOther, "closed.d/inside", EACCES, 0}, {kOther, "listed", EACCES, 0},
      {kOwner, "listed", EACCES, EACCES},
  };
  for (const Expected& expected : kExpected) {
    SCOPED_TRACE(std::string(expected.name) + " as " + std::to_string(expected.user));
    EXPECT_EQ(ReadAs(expected.user, expected.name), expected.present);
    EXPECT_EQ(ReadAs(expected.user, past + expected.name), expected.past);
    // Root may everything, also what it sees first and the kernel then knows.
    EXPECT_EQ(ReadAs(0, past + expected.name), 0);
    EXPECT_EQ(ReadAs(expected.user, past + expected.name), expected.past);
  }
  EXPECT_EQ(ListAs(kOther, past + "opened.d"), EACCES);
  EXPECT_EQ(ListAs(kOther, "opened.d"), 0);
  EXPECT_EQ(ListAs(kOther, past + "closed.d"), 0);
  EXPECT_EQ(ListAs(kOther, "closed.d"), EACCES);
}

// Whoever cannot pass the root of the volume now does not come to any of its instants.
TEST_F(PastPermissionsTest, TheRootOfNowGuardsTheWay) {
  MakeFile("public", 0644);
  const std::string past = ".rewind/" + FormatInstant(store_->Now());
  EXPECT_EQ(ReadAs(kOther, past + "/public"), 0);
  Chmod("", 0700);
  EXPECT_EQ(ReadAs(kOther, past + "/public"), EACCES);
  EXPECT_EQ(ListAs(kOther, past), EACCES);
  EXPECT_EQ(ListAs(kOther, ".rewind"), EACCES);
  EXPECT_EQ(ReadAs(0, past + "/public"), 0);
}

// And the other way round: an instant at which the root was closed stays so.
TEST_F(PastPermissionsTest, TheRootOfThenGuardsWhatIsBelow) {
  MakeFile("public", 0644);
  Chmod("", 0700);
  const std::string past = ".rewind/" + FormatInstant(store_->Now());
  Chmod("", 0755);
  EXPECT_EQ(ReadAs(kOther, "public"), 0);
  EXPECT_EQ(ReadAs(kOther, past + "/public"), EACCES);
  EXPECT_EQ(ListAs(kOther, past), EACCES);
}

TEST_F(PastPermissionsTest, TheSameInAViewOfItsOwn) {
  MakeFile("opened", 0600);
  MakeFile("closed", 0644);
  const Instant then = store_->Now();
  Chmod("opened", 0644);
  Chmod("closed", 0600);
  const MountedVolume view(*store_, "v", then);
  const auto read = [&view](const char* name) {
    return As(kOther, view.path(), [name] { return Read(name); });
  };
  EXPECT_EQ(read("opened"), EACCES);
  EXPECT_EQ(read("closed"), 0);
}

TEST_F(PastPermissionsTest, NobodyChangesThePast) {
  MakeFile("mine", 0666, kOther);
  const std::string past = ".rewind/" + FormatInstant(store_->Now());
  const auto change = [&](const std::function<int(const std::string&)>& call) {
    return As(kOther, mounted_->path(), [&] { return call(past + "/mine"); });
  };
  EXPECT_EQ(change([](const std::string& path) { return chmod(path.c_str(), 0777); }), EROFS);
  EXPECT_EQ(change([](const std::string& path) { return unlink(path.c_str()); }), EACCES)
      << "the root was not theirs";
  EXPECT_EQ(change([](const std::string& path) { return truncate(path.c_str(), 0); }), EROFS);
  EXPECT_EQ(change([](const std::string& path) {
              const int fd = open(path.c_str(), O_WRONLY);
              return fd < 0 ? -1 : static_cast<int>(write(fd, "x", 1));
            }),
            EROFS);
}

}  // namespace
}  // namespace rw::testing
