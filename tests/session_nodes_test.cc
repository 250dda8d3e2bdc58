// Goal: an unlinked file ends when the kernel has forgotten it, and not before.
//
// Method: the kernel's part is played by threads that tell SessionNodes what was looked up and
// forgotten, of files in a real volume.
#include "fs/session_nodes.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <optional>
#include <thread>

#include "fs/store.h"
#include "tests/support/system_clock.h"
#include "tests/support/temp_dir.h"

namespace rw::testing {
namespace {

class SessionNodesTest : public ::testing::Test {
 protected:
  SessionNodesTest() : store_(Store::Open({dir_.path() / "root", SystemNanoseconds})) {
    CreateRequest request;
    request.name = "volume";
    store_->Create(request);
    volume_ = store_->OpenVolume("volume");
    nodes_.emplace(volume_, nullptr, nullptr);
  }

  Ino Make(const std::string& name) {
    return volume_->Create({}, kRootIno, name, S_IFREG | 0644, 0, "").ino;
  }

  TempDir dir_;
  std::unique_ptr<Store> store_;
  std::shared_ptr<Volume> volume_;
  std::optional<SessionNodes> nodes_;
};

TEST_F(SessionNodesTest, AnUnlinkedFileEndsWithTheLastLookup) {
  const Ino ino = Make("file");
  nodes_->Remember(ino);
  nodes_->Remember(ino);
  volume_->Unlink({}, kRootIno, "file");
  nodes_->Forget(ino, 1);
  EXPECT_TRUE(volume_->FindInode(ino).has_value());
  nodes_->Forget(ino, 1);
  EXPECT_FALSE(volume_->FindInode(ino).has_value());
}

// The kernel drops a file from its cache, finds it again, opens and unlinks it; what it said first
// is worked on last. Other operations keep the volume busy, so that the threads wait for each other
// in all ways.
TEST_F(SessionNodesTest, AFileThatIsFoundAgainWhileItIsForgottenStays) {
  constexpr int kTimes = 2500;
  const Ino busy = Make("busy");
  std::atomic<bool> stop = false;
  std::thread other([&] {
    AttrChange change;
    change.mode = 0600;
    while (!stop) volume_->SetAttr({}, busy, change);
  });
  int ended = 0;
  for (int i = 0; i < kTimes; ++i) {
    const Ino ino = Make("file");
    nodes_->Remember(ino);
    std::thread forgetting([&] { nodes_->Forget(ino, 1); });
    nodes_->Remember(ino);
    volume_->Unlink({}, kRootIno, "file");
    forgetting.join();
    ended += volume_->FindInode(ino).has_value() ? 0 : 1;
    nodes_->Forget(ino, 1);
    EXPECT_FALSE(volume_->FindInode(ino).has_value());
  }
  stop = true;
  other.join();
  EXPECT_EQ(ended, 0) << "of " << kTimes << " were gone while the kernel knew them";
}

}  // namespace
}  // namespace rw::testing
