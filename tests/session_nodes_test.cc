// Goal: an unlinked file ends when the kernel has forgotten it, and not before. However many
// instants are named, few views have to be remembered.
//
// Method: the kernel's part is played by threads that tell SessionNodes what was looked up and
// forgotten, of files in a real volume.
#include "fs/session_nodes.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "fs/session.h"
#include "fs/store.h"
#include "metadata/time_text.h"
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

// Each is looked up once, and again when the kernel was made to forget it.
TEST_F(SessionNodesTest, ManyViewsAreForgotten) {
  const Instant now = store_->Now();
  std::set<uint64_t> known;
  nodes_.emplace(
      volume_,
      [&](std::string_view time) { return store_->OpenAt("volume", ParseTime(time, now)); },
      [&](uint64_t slot, std::optional<Instant> at) {
        if (at) {
          known.insert(slot);
        } else {
          known.erase(slot);
        }
      });
  std::vector<uint64_t> dropped;
  nodes_->DropViewsBy([&](uint64_t slot) { dropped.push_back(slot); });
  const auto look_up = [&](const std::string& time) {
    const Node node = nodes_->FindView(time);
    nodes_->Remember(node.IdOf(kRootIno));
    EXPECT_EQ(nodes_->NameOfView(node.slot), time);
  };
  constexpr size_t kMost = SessionNodes::kKnownViews + 1500;
  for (size_t i = 0; i < 3 * SessionNodes::kKnownViews; ++i) {
    const std::string time = FormatInstant({now.ns - i});
    look_up(time);
    for (const uint64_t slot : std::exchange(dropped, {})) {
      const std::string name = nodes_->NameOfView(slot).value();
      nodes_->Forget(slot << kInoBits | kRootIno, 1);
      if (i % 2 == 0) look_up(name);
    }
    ASSERT_LE(known.size(), kMost);
  }
  EXPECT_GE(known.size(), SessionNodes::kKnownViews);
}

// The kernel does as it is told, and who is in a view stays there.
TEST_F(SessionNodesTest, TheKernelForgetsManyViews) {
  const Ino file = Make("file");
  volume_->Write({}, file, 0, "text", false);
  const Instant now = store_->Now();
  Make("newer");
  std::mutex mutex;
  std::set<uint64_t> known;
  const TempDir directory;
  SessionOptions options;
  options.mountpoint = directory.path();
  options.source = "rewind:volume";
  options.open_at = [&](std::string_view time) {
    return store_->OpenAt("volume", ParseTime(time, now));
  };
  options.on_view = [&](uint64_t slot, std::optional<Instant> at) {
    const std::lock_guard lock(mutex);
    if (at) {
      known.insert(slot);
    } else {
      known.erase(slot);
    }
  };
  nodes_.reset();
  const auto session = Session::Mount(volume_, std::move(options));
  const auto view = [&](uint64_t i) {
    return directory.path().string() + "/.rewind/" + FormatInstant({now.ns - i});
  };
  const int used = open(view(0).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  ASSERT_GE(used, 0);
  for (size_t i = 1; i < 2 * SessionNodes::kKnownViews; ++i) {
    struct stat status {};
    ASSERT_EQ(stat(view(i).c_str(), &status), 0) << i;
  }
  constexpr size_t kMost = SessionNodes::kKnownViews + 1500;
  const auto count = [&] {
    const std::lock_guard lock(mutex);
    return known.size();
  };
  // What the kernel has forgotten meanwhile goes when others come.
  for (size_t i = 0; i < 3000 && count() > kMost; ++i) {
    struct stat status {};
    ASSERT_EQ(stat(view(2 * SessionNodes::kKnownViews + i).c_str(), &status), 0);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  EXPECT_LE(count(), kMost);
  const int read_from = openat(used, "file", O_RDONLY | O_CLOEXEC);
  char text[4] = {};
  EXPECT_EQ(read(read_from, text, sizeof(text)), 4);
  EXPECT_EQ(openat(used, "newer", O_RDONLY | O_CLOEXEC), -1);
  close(read_from);
  close(used);
}

}  // namespace
}  // namespace rw::testing
