// Goal: no directory is used that another user could have put there, or could put things into; and
// what is refused is said with what to do. Method: real directories and links of other owners.
#include "plugin/trusted_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "metadata/refused.h"
#include "plugin/unix_socket.h"
#include "tests/support/temp_dir.h"

namespace rw {
namespace {

using ::testing::HasSubstr;
namespace stdfs = std::filesystem;

constexpr uid_t kOther = 1000;

class TrustedDirectoryTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root, to give files away";
  }

  stdfs::path Make(const std::string& name, mode_t mode, uid_t owner = 0, gid_t group = 0) const {
    const stdfs::path path = dir_.path() / name;
    stdfs::create_directory(path);
    EXPECT_EQ(chown(path.c_str(), owner, group), 0);
    EXPECT_EQ(chmod(path.c_str(), mode), 0);
    return path;
  }
  stdfs::path Link(const stdfs::path& target, const std::string& name, uid_t owner) const {
    const stdfs::path path = dir_.path() / name;
    stdfs::create_symlink(target, path);
    EXPECT_EQ(lchown(path.c_str(), owner, owner), 0);
    return path;
  }
  // Empty if it is accepted.
  static std::string Refusal(const stdfs::path& path) {
    try {
      CheckTrustedDirectory(path, "mounts");
      return "";
    } catch (const Refused& refused) {
      return refused.what();
    }
  }

  testing::TempDir dir_;
};

TEST_F(TrustedDirectoryTest, TakesWhatOnlyRootCanWrite) {
  EXPECT_EQ(Refusal(Make("closed", 0700)), "");
  EXPECT_EQ(Refusal(Make("readable", 0755)), "");
  EXPECT_EQ(Refusal(Make("group-of-root", 0775)), "");
  EXPECT_EQ(Refusal(Make("sticky", 01777) / ".."), "");
}

TEST_F(TrustedDirectoryTest, RefusesWhatOthersOwnOrWrite) {
  EXPECT_THAT(Refusal(Make("theirs", 0755, kOther)), HasSubstr("belongs to user 1000; chown"));
  EXPECT_THAT(Refusal(Make("open", 0757)), HasSubstr("everybody's to write to; chmod"));
  EXPECT_THAT(Refusal(Make("group", 0775, 0, kOther)), HasSubstr("written by others; chmod go-w"));
  EXPECT_THAT(Refusal(Make("sticky", 01777)), HasSubstr("written by others"));
  EXPECT_THAT(Refusal(dir_.path() / "absent"), HasSubstr("No such file"));
}

TEST_F(TrustedDirectoryTest, RefusesWaysThatOthersCanBend) {
  const stdfs::path target = Make("target", 0700);
  const stdfs::path open = Make("open", 0777);
  stdfs::create_directory(open / "below");
  EXPECT_THAT(Refusal(open / "below"), HasSubstr("everybody's to write to"));
  EXPECT_EQ(Refusal(Link(target, "roots", 0)), "");
  EXPECT_EQ(Refusal(Link("roots", "twice", 0)), "");
  EXPECT_THAT(Refusal(Link(target, "theirs", kOther)), HasSubstr("link of user 1000's"));
  EXPECT_THAT(Refusal(Link("theirs", "to-theirs", 0)), HasSubstr("link of user 1000's"));
  EXPECT_THAT(Refusal(Link("loop", "loop", 0)), HasSubstr("Too many levels"));
  EXPECT_EQ(Refusal(dir_.path() / "roots" / ".." / "target" / "."), "");
}

TEST_F(TrustedDirectoryTest, MakesWhatIsAbsentForItsOwnerAlone) {
  const stdfs::path path = dir_.path() / "a" / "b";
  UseTrustedDirectory(path, "the data root");
  struct stat status;
  ASSERT_EQ(stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0700u);
  // A link to nowhere is not filled.
  const stdfs::path link = Link(dir_.path() / "nowhere", "dangling", kOther);
  EXPECT_THROW(UseTrustedDirectory(link, "the data root"), Refused);
  EXPECT_FALSE(stdfs::exists(dir_.path() / "nowhere"));
}

TEST_F(TrustedDirectoryTest, NoSocketIsMadeWhereOthersCouldReplaceIt) {
  EXPECT_THROW(ListenOn(Make("open", 01777) / "s"), Refused);
  EXPECT_THROW(ListenOn(Make("theirs", 0755, kOther) / "s"), Refused);
  EXPECT_THROW(ListenOn(Link(Make("target", 0700), "link", kOther) / "s"), Refused);
  EXPECT_TRUE(stdfs::is_empty(dir_.path() / "open"));
}

}  // namespace
}  // namespace rw
