// Goal: however many processes change the same names at once, each gets an answer that it may get,
// and the tree is sound: afterwards, at every instant, after a new mount and after the daemon was
// killed.
//
// Method: eight processes make, move and remove names of a small space below one mounted volume, so
// that they collide all the time, while views of "now" are opened and checked. After each round
// the volume through the library and the mount through system calls pass a full check and agree,
// and the volume counts what it has; so do the views opened before, once more.
// REWIND_SEED repeats one seed (not the interleaving); REWIND_STORM_SECONDS is how long it goes on.
#include "tests/support/name_storm.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mount.h>
#include <unistd.h>

#include <chrono>
#include <iostream>
#include <optional>
#include <sstream>

#include "fs/store.h"
#include "fs/volume.h"
#include "metadata/time_text.h"
#include "tests/support/child.h"
#include "tests/support/daemon_process.h"
#include "tests/support/mounted_volume.h"
#include "tests/support/system_clock.h"
#include "tests/support/tree.h"

namespace rw::testing {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr size_t kProcesses = 8;
constexpr uint64_t kStormSeconds = 9;
constexpr uint64_t kRoundMilliseconds = 3000;
constexpr uint64_t kLeastOperations = 3000;  // of each process and round, however slow it is
constexpr Ino kMaxCounted = 60'000;          // inodes that are looked at one by one

TEST(NameStormChild, DISABLED_Run) {
  auto line = LineToParent();
  if (!line) GTEST_SKIP() << "only as a child of NameStormTest";
  std::istringstream task(line->Receive().value_or(""));
  std::string directory;
  uint64_t seed = 0;
  uint64_t duration = 0;
  task >> directory >> seed >> duration;
  umask(0);
  std::string problem;
  StormCounts counts;
  {
    NameStorm storm(directory, seed);
    const auto end = Clock::now() + milliseconds(duration);
    for (uint64_t i = 0; i < kLeastOperations || Clock::now() < end; ++i) {
      problem = storm.Step();
      if (!problem.empty() || storm.gone()) break;
    }
    counts = storm.counts();
  }
  line->Send(problem.empty() ? "done\n" + ToText(counts) : "problem: " + problem);
}

struct Seen {
  std::string volume;
  Instant at;
  Tree tree;  // empty if it was not looked at
};

class NameStormTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "mounts, needs root";
    std::cout << "seed " << seed_ << std::endl;
  }

  void OpenStore(const std::filesystem::path& root) {
    store_ = Store::Open({root, SystemNanoseconds});
  }

  std::vector<Child> StartAll(const std::string& directory, uint64_t duration) {
    std::vector<Child> children;
    for (size_t i = 0; i < kProcesses; ++i) {
      children.emplace_back("NameStormChild.DISABLED_Run");
      children.back().Send(directory + " " + std::to_string(seed_ + 1000 * round_ + i) + " " +
                           std::to_string(duration));
    }
    ++round_;
    return children;
  }

  static bool AnyHasSaidSomething(const std::vector<Child>& children, int wait_ms) {
    std::vector<pollfd> ready;
    ready.reserve(children.size());
    for (const Child& child : children) ready.push_back({child.fd(), POLLIN, 0});
    return poll(ready.data(), ready.size(), wait_ms) > 0;
  }

  // Waits for the end of all of them. Returns what is wrong.
  std::string Finish(std::vector<Child>& children) {
    for (Child& child : children) {
      std::string message = child.Receive();
      if (!message.starts_with("done\n")) return message;
      AddText(message.substr(5), counts_);
    }
    return {};
  }

  // Every inode that the view has is in the tree or has no name, and what it counts is what these
  // are. With `all_named`, nothing without a name is left.
  std::string CheckCounts(Volume& view, const CollectedTree& collected, Ino last, bool all_named) {
    std::set<Ino> named;
    for (const auto& [path, ino] : collected.inos) named.insert(ino);
    uint64_t bytes = collected.allocated;
    uint64_t inodes = named.size();
    for (Ino ino = kRootIno; ino <= last && !all_named; ++ino) {
      if (named.contains(ino)) continue;
      const auto inode = view.FindInode(ino);
      if (!inode) continue;
      if (inode->nlink != 0) return "inode " + std::to_string(ino) + " has links but no name\n";
      ++inodes;
      if (!inode->is_dir()) bytes += inode->allocated;
    }
    const VolumeUsage usage = view.Usage();
    if (usage.live_inodes == inodes && usage.live_bytes == bytes) return {};
    return "counts " + std::to_string(usage.live_inodes) + " inodes and " +
           std::to_string(usage.live_bytes) + " bytes, has " + std::to_string(inodes) + " and " +
           std::to_string(bytes) + "\n";
  }

  // The highest inode number given out so far.
  static Ino LastIno(Volume& head) {
    const Ino last = head.CreateUnnamed({}, kRootIno, 0600).ino;
    head.Forget(last);
    return last;
  }

  // While nobody has it mounted.
  std::string CheckHead() {
    auto head = store_->OpenVolume(volume_);
    head->ForgetAll();
    const CollectedTree collected = CollectTree(*head);
    return collected.ProblemText() + CheckCounts(*head, collected, 0, true);
  }

  std::string CheckSeen(const Seen& seen, Ino last) {
    auto view = store_->OpenAt(seen.volume, seen.at);
    const CollectedTree collected = CollectTree(*view);
    std::string text = collected.ProblemText();
    if (!seen.tree.empty()) text += Difference(seen.tree, collected.tree);
    if (last <= kMaxCounted) text += CheckCounts(*view, collected, last, false);
    if (text.empty()) return {};
    return seen.volume + " at " + std::to_string(seen.at.ns) + ":\n" + text;
  }

  // Some of what was seen, the newest of it at least.
  std::string CheckSomeSeen(size_t some) {
    const Ino last = LastIno(*store_->OpenVolume(volume_));
    for (size_t i = 0; i < some && !seen_.empty(); ++i) {
      const Seen& seen = i == 0 ? seen_.back() : random_.PickFrom(seen_);
      if (std::string problem = CheckSeen(seen, last); !problem.empty()) return problem;
    }
    return {};
  }

  // With `all_kinds`, each must have succeeded once.
  void PrintCounts(bool all_kinds) {
    uint64_t all = 0, done = 0;
    std::ostringstream kinds;
    for (const auto& [name, results] : counts_) {
      uint64_t tried = 0;
      for (const auto& [error, count] : results) tried += count;
      const auto found = results.find(0);
      const uint64_t succeeded = found == results.end() ? 0 : found->second;
      EXPECT_TRUE(succeeded > 0 || !all_kinds) << name << " never succeeded";
      kinds << ' ' << name << ' ' << succeeded << '/' << tried;
      all += tried;
      done += succeeded;
    }
    std::cout << done << " of " << all << " operations done, " << seen_.size() << " instants:\n "
              << kinds.str() << std::endl;
  }

  const TempDir dir_;
  const uint64_t seed_ = NumberFromEnvironment("REWIND_SEED", 1);
  Random random_{seed_};
  std::unique_ptr<Store> store_;
  std::optional<MountedVolume> mounted_;
  std::string volume_ = "volume";
  uint64_t round_ = 0;
  StormCounts counts_;
  std::vector<Seen> seen_;
};

class MountedStormTest : public NameStormTest {
 protected:
  void SetUp() override {
    NameStormTest::SetUp();
    if (IsSkipped()) return;
    OpenStore(dir_.path() / "root");
    CreateRequest request;
    request.name = volume_;
    store_->Create(request);
    mounted_.emplace(*store_, volume_);
  }

  // Opens views of a volume that is under way, and has the kernel forget what it can.
  std::string LookWhile(std::vector<Child>& children) {
    for (uint64_t i = 0; !AnyHasSaidSomething(children, 40); ++i) {
      seen_.push_back({volume_, store_->Now(), {}});
      if (i % 3 == 0) {
        const CollectedTree collected = CollectTree(*store_->OpenAt(volume_, seen_.back().at));
        if (!collected.problems.empty()) return collected.ProblemText();
        seen_.back().tree = collected.tree;
      }
      if (i % 5 == 0) {
        const unsigned long flags = MS_REMOUNT | MS_NOATIME | kDefaultMountFlags;
        if (mount(nullptr, mounted_->path().c_str(), nullptr, flags, nullptr) != 0)
          return "remounting failed";
      }
    }
    return {};
  }

  std::string CheckMounted() {
    const CollectedTree library = CollectTree(*store_->OpenVolume(volume_));
    const CollectedTree mount = CollectTree(mounted_->path());
    std::string text =
        library.ProblemText() + mount.ProblemText() + Difference(library.tree, mount.tree);
    if (text.empty() && library.inos != mount.inos) text = "the mount has other inode numbers";
    return text;
  }

  // The same volume or a clone of it, perhaps after a restart.
  void MountAgain() {
    if (random_.OneIn(2)) {
      store_.reset();
      OpenStore(dir_.path() / "root");
    }
    if (random_.OneIn(2)) {
      CreateRequest request;
      request.source_kind = SourceKind::kCloneOf;
      request.source = volume_;
      request.name = volume_ = "clone-" + std::to_string(round_);
      store_->Create(request);
    }
    mounted_.emplace(*store_, volume_);
  }

  // What is out of reach for the storm, deep down, would pile up else.
  std::string RemoveEverything() {
    for (const auto& entry : std::filesystem::directory_iterator(mounted_->path())) {
      std::error_code error;
      std::filesystem::remove_all(entry.path(), error);
      if (error) return "removing " + entry.path().string() + ": " + error.message();
    }
    const CollectedTree left = CollectTree(*store_->OpenVolume(volume_));
    return left.tree.size() == 1 ? left.ProblemText() : "not everything is gone";
  }

  std::string Round() {
    auto children = StartAll(mounted_->path(), kRoundMilliseconds);
    std::string problem = LookWhile(children);
    if (problem.empty()) problem = Finish(children);
    children.clear();  // none may go on in what lies below the mount
    if (problem.empty()) problem = CheckMounted();
    if (problem.empty() && random_.OneIn(3)) problem = RemoveEverything();
    seen_.push_back({volume_, store_->Now(), {}});
    mounted_.reset();
    if (problem.empty()) problem = CheckHead();
    if (problem.empty()) problem = CheckSomeSeen(6);
    return problem;
  }
};

TEST_F(MountedStormTest, LeavesASoundTreeAtEveryInstant) {
  const auto end = Clock::now() + std::chrono::seconds(
                                      NumberFromEnvironment("REWIND_STORM_SECONDS", kStormSeconds));
  while (Clock::now() < end) {
    ASSERT_EQ(Round(), "") << "seed " << seed_ << ", round " << round_;
    ASSERT_NO_THROW(MountAgain());
    ASSERT_EQ(CheckMounted(), "") << "seed " << seed_ << ", mounted again";
  }
  PrintCounts(true);
}

class KilledStormTest : public NameStormTest {
 protected:
  // Returns what is wrong.
  std::string StormUntilKilled(DaemonProcess& daemon) {
    const std::string mountpoint =
        daemon.Post("VolumeDriver.Mount", {{"Name", volume_}, {"ID", "storm"}})["Mountpoint"];
    auto children = StartAll(mountpoint, 60'000);
    const auto end = Clock::now() + milliseconds(1000 + random_.Below(500));
    while (Clock::now() < end && !AnyHasSaidSomething(children, 100)) {
      const std::string now = daemon.Command({"now", volume_}).out;
      seen_.push_back({volume_, ParseTime(now.substr(0, now.find('\n')), Instant{}), {}});
    }
    daemon.Kill();
    std::string problem = Finish(children);
    umount2(mountpoint.c_str(), MNT_DETACH);
    return problem;
  }
};

TEST_F(KilledStormTest, LeavesASoundTreeWhenTheDaemonIsKilled) {
  DaemonProcess daemon;
  ASSERT_EQ(daemon.Command({"create", volume_}).exit_code, 0);
  for (int kills = 0; kills < 2; ++kills) {
    if (kills > 0) daemon.Restart();
    ASSERT_EQ(StormUntilKilled(daemon), "") << "seed " << seed_;
    OpenStore(daemon.root());
    ASSERT_EQ(CheckHead(), "") << "seed " << seed_;
    ASSERT_EQ(CheckSomeSeen(10), "") << "seed " << seed_;
    store_.reset();
  }
  PrintCounts(false);
}

}  // namespace
}  // namespace rw::testing
