// Goal: setuid programs and devices on a volume do nothing by default, and what they are for once
// the volume's options allow it; `noexec` forbids to execute.
//
// Method: one volume mounted with different flags; a setuid copy of id(1) run as another user, and
// a null device that is opened.
#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <optional>

#include "tests/support/mounted_volume.h"
#include "tests/support/system_clock.h"

namespace rw::testing {
namespace {

constexpr uid_t kSomebody = 12345;

class MountFlagsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "mounts, needs root";
    store_ = Store::Open({dir_.path() / "root", SystemNanoseconds});
    CreateRequest request;
    request.name = "volume";
    request.mode = 0755;
    store_->Create(request);
    MountedVolume mounted(*store_, "volume");
    std::filesystem::copy_file("/usr/bin/id", mounted.path() + "/id");
    ASSERT_EQ(chmod((mounted.path() + "/id").c_str(), 04755), 0);
    ASSERT_EQ(mknod((mounted.path() + "/null").c_str(), S_IFCHR | 0666, makedev(1, 3)), 0);
  }

  // The effective user that `id -u` runs as when kSomebody starts it; nothing if it does not run.
  std::optional<uid_t> UserOfId(const std::string& mountpoint) {
    // Not below the TempDir: somebody else has to get to it.
    const std::string output = dir_.path() / "output";
    const pid_t child = fork();
    if (child == 0) {
      const int out = open(output.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
      const int directory = open(mountpoint.c_str(), O_PATH);
      if (out < 0 || directory < 0 || dup2(out, 1) < 0) _exit(101);
      if (fchdir(directory) != 0 || setgid(kSomebody) != 0 || setuid(kSomebody) != 0) _exit(102);
      execl("./id", "id", "-u", nullptr);
      _exit(errno == EACCES ? 103 : 104);
    }
    int status = 0;
    waitpid(child, &status, 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) return std::nullopt;
    uid_t user = 0;
    std::ifstream(output) >> user;
    return user;
  }

  static int OpenError(const std::string& path) {
    const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
    if (fd < 0) return errno;
    close(fd);
    return 0;
  }

  TempDir dir_;
  std::unique_ptr<Store> store_;
};

TEST_F(MountFlagsTest, NeitherSetuidNorDevicesByDefault) {
  const MountedVolume mounted(*store_, "volume");
  EXPECT_EQ(UserOfId(mounted.path()), kSomebody);
  EXPECT_EQ(OpenError(mounted.path() + "/null"), EACCES);
}

TEST_F(MountFlagsTest, BothWhereTheyAreAllowed) {
  const MountedVolume mounted(*store_, "volume", kInstantMax, 0);
  EXPECT_EQ(UserOfId(mounted.path()), uid_t{0});
  EXPECT_EQ(OpenError(mounted.path() + "/null"), 0);
}

TEST_F(MountFlagsTest, AlsoOfWhatTheVolumeWas) {
  const MountedVolume before(*store_, "volume", store_->Now(), 0);
  EXPECT_EQ(UserOfId(before.path()), uid_t{0});
}

TEST_F(MountFlagsTest, NothingIsExecutedWhereThatIsForbidden) {
  const MountedVolume mounted(*store_, "volume", kInstantMax, MS_NOEXEC);
  EXPECT_EQ(UserOfId(mounted.path()), std::nullopt);
}

}  // namespace
}  // namespace rw::testing
