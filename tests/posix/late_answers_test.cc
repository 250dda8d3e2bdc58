// Goal: the kernel, which may keep attributes for ever, does not keep those that an operation has
// changed since: an answer with attributes that were read before the operation may be seen after
// the operation's own.
// Method: threads that ask for attributes all the time, while another changes them in ways that
// make the kernel ask again; when all have ended, what the mount says is what the volume says.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/mounted_volume.h"
#include "tests/support/random.h"

namespace rw::testing {
namespace {

class LateAnswersTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "mounts, needs root";
    store_ = Store::Open({root_.path()});
    CreateRequest request;
    request.name = "v";
    store_->Create(request);
    mounted_.emplace(*store_, "v");
  }

  // Of the file or directory, as the volume has them and as the mount shows them.
  std::string Difference(const std::string& path) const {
    struct stat st {};
    if (stat(path.c_str(), &st) != 0) return path + " is gone";
    const Inode inode = *store_->OpenVolume("v")->FindInode(st.st_ino);
    const auto is_same = [](const timespec& shown, const FileTime& kept) {
      return shown.tv_sec == kept.seconds && shown.tv_nsec == kept.nanoseconds;
    };
    if (is_same(st.st_ctim, inode.ctime) && is_same(st.st_mtim, inode.mtime)) return "";
    return path + " has other times";
  }

  // Lets `change` run while others look at the paths; then compares.
  template <typename Change>
  void Try(const std::vector<std::string>& paths, Change change) {
    const auto rounds = NumberFromEnvironment("REWIND_OPS", 60);
    for (uint64_t round = 0; round < rounds; ++round) {
      std::atomic<bool> end{false};
      std::vector<std::thread> lookers;
      for (int i = 0; i < 3; ++i) {
        lookers.emplace_back([&] {
          struct stat st {};
          while (!end) {
            for (const std::string& path : paths) stat(path.c_str(), &st);
          }
        });
      }
      for (int i = 0; i < 20; ++i) change(i);
      end = true;
      for (std::thread& looker : lookers) looker.join();
      for (const std::string& path : paths) ASSERT_EQ(Difference(path), "") << "round " << round;
    }
  }

  TempDir root_;
  std::unique_ptr<Store> store_;
  std::optional<MountedVolume> mounted_;
};

TEST_F(LateAnswersTest, AreNotTakenForNewOnesOfAFile) {
  const std::string a = mounted_->path() + "/a", b = mounted_->path() + "/b";
  close(open(a.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
  Try({a}, [&](int i) {
    const std::string value = std::to_string(i);
    ASSERT_EQ(setxattr(a.c_str(), "user.x", value.data(), value.size(), 0), 0);
    ASSERT_EQ(rename(a.c_str(), b.c_str()), 0);
    ASSERT_EQ(removexattr(b.c_str(), "user.x"), 0);
    ASSERT_EQ(rename(b.c_str(), a.c_str()), 0);
    ASSERT_EQ(link(a.c_str(), b.c_str()), 0);
    ASSERT_EQ(unlink(b.c_str()), 0);
  });
}

TEST_F(LateAnswersTest, AreNotTakenForNewOnesOfADirectory) {
  const std::string d = mounted_->path() + "/d", f = d + "/f";
  ASSERT_EQ(mkdir(d.c_str(), 0755), 0);
  Try({d}, [&](int) {
    close(open(f.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
    ASSERT_EQ(unlink(f.c_str()), 0);
  });
}

}  // namespace
}  // namespace rw::testing
