// Goal: what a policy promises is there, as it was, whatever was collected around it; what is no
// longer kept is refused and never shown as something else; and the space comes back.
//
// Method: random operations through the library beside the reference model, with a clock that the
// test moves by minutes, so that hours and days pass; clones, snapshot volumes, marks, rollbacks,
// restarts and removals in between. After a collection, instants that the policy promises must show
// the model's tree, and others must be refused with the instants that are kept. Small segments make
// the collector free and empty many. REWIND_SEED repeats one seed, REWIND_OPS makes the run longer.
#include <errno.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <filesystem>
#include <random>
#include <thread>

#include "fs/store.h"
#include "fs/volume.h"
#include "metadata/refused.h"
#include "metadata/time_text.h"
#include "tests/support/manual_clock.h"
#include "tests/support/random_operations.h"
#include "tests/support/temp_dir.h"
#include "tests/support/twin.h"

namespace rw::testing {
namespace {

constexpr uint64_t kSeeds = 4;
constexpr uint64_t kOperationsPerSeed = 3000;
constexpr uint64_t kMinute = 60 * ManualClock::kSecond;
constexpr uint64_t kHour = 60 * kMinute;
constexpr uint64_t kRange = 30 * kMinute;
constexpr uint64_t kHourlySpan = 6 * kHour;
constexpr uint64_t kDailySpan = 72 * kHour;

StoreOptions OptionsFor(const std::filesystem::path& root, ManualClock& clock, bool join) {
  StoreOptions options(root, clock.AsFunction());
  options.max_segment_bytes = 256 << 10;
  options.collector.background = false;
  options.collector.reserve_bytes = 0;
  if (join) options.collector.max_chain = 1;
  options.defaults = {{"retention", "30m"}, {"keep", "hourly:6h,daily:3d"}, {"trash", "2h"}};
  return options;
}

uint64_t JournalBytes(const std::filesystem::path& root) {
  uint64_t bytes = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root / "journal")) {
    if (entry.is_regular_file()) bytes += entry.file_size();
  }
  return bytes;
}

class RetentionWorld {
 public:
  explicit RetentionWorld(uint64_t seed, const std::filesystem::path& root)
      : random_(seed), operations_(seed + 1, Profile(seed)), root_(root), join_(seed % 4 != 1) {
    store_ = Store::Open(OptionsFor(root, clock_, join_));
    AddVolume("first");
  }
  ~RetentionWorld() { twins_.clear(); }

  Store& store() { return *store_; }
  ManualClock& clock() { return clock_; }
  size_t shown() const { return shown_; }
  size_t refused() const { return refused_; }

  std::string Operate() {
    clock_.Forward(random_.Below(2 * kMinute));
    Twin& twin = AnyTwin();
    const std::string problem = twin.Step(operations_.Next(twin.model));
    if (!problem.empty() || !random_.OneIn(8)) return problem;
    return twin.CheckRandomRead(random_);
  }

  std::string SomeEvent() {
    switch (random_.Below(6)) {
      case 0:
        return Mark();
      case 1:
        return Clone();
      case 2:
        return Snapshot();
      case 3:
        return RollBack();
      case 4:
        return Restart();
      default:
        return Remove();
    }
  }

  // All kinds of instants of all volumes.
  std::string Check(bool collected) {
    for (const auto& twin : twins_) {
      std::string problem = twin->CheckView(*twin->volume, kInstantMax);
      for (int i = 0; i < 4 && problem.empty(); ++i)
        problem = CheckAt(*twin, AnyInstant(*twin), collected);
      for (const Instant mark : marks_[twin->name]) {
        if (problem.empty()) problem = CheckAt(*twin, mark, collected);
      }
      if (problem.empty()) problem = CheckPoint(*twin, collected);
      if (!problem.empty()) return problem;
    }
    for (const auto& [snapshot, at] : snapshots_) {
      auto view = store_->OpenVolume(snapshot.name);
      if (std::string problem = snapshot.CheckView(*view, at); !problem.empty())
        return "snapshot volume " + problem;
    }
    return {};
  }

  std::string CollectAndCheck() {
    store_->Collect();
    return Check(true);
  }

  // Everything but the heads goes; what is left on the disk is about what they hold.
  std::string GiveUpEverything() {
    for (const auto& [snapshot, at] : snapshots_) store_->Remove(snapshot.name);
    snapshots_.clear();
    for (const RemovedVolume& removed : store_->ListRemoved()) {
      if (removed.record.removed) purge_.insert(removed.record.name);
    }
    for (const std::string& name : purge_) store_->Purge(name);
    uint64_t live = 0;
    for (const auto& twin : twins_) {
      for (const rw::Mark& mark : store_->Marks(twin->name))
        store_->RemoveMark(twin->name, mark.label);
      marks_[twin->name].clear();
      store_->Set(twin->name, {{"retention", "0"}, {"keep", "none"}});
      live += twin->volume->Usage().live_bytes;
    }
    clock_.Forward(kMinute);
    for (int i = 0; i < 4; ++i) {
      // A segment that is being written stays; each operation more lets another one end.
      store_->Collect();
      clock_.Forward(kMinute);
    }
    const uint64_t bytes = JournalBytes(root_);
    const uint64_t bound =
        live + live * 3 / 10 + (twins_.size() + timelines_) * (512 << 10) + (2 << 20);
    std::string problem;
    if (bytes > bound) {
      problem = std::to_string(bytes) + " bytes of journals for " + std::to_string(live) +
                " that are live, expected at most " + std::to_string(bound);
    }
    for (const auto& twin : twins_) {
      if (problem.empty()) problem = twin->CheckView(*twin->volume, kInstantMax);
    }
    return problem;
  }

 private:
  static OperationProfile Profile(uint64_t seed) {
    OperationProfile profile;
    profile.max_write = 60'000;
    if (seed % 2 == 0) {
      profile.max_inodes = 8;
      profile.percent_contents = 80;
    }
    return profile;
  }

  Twin& AnyTwin() { return *twins_[random_.Below(twins_.size())]; }
  std::string FreeName() { return "volume-" + std::to_string(next_name_++); }

  void AddVolume(const std::string& name) {
    CreateRequest request;
    request.name = name;
    store_->Create(request);
    auto volume = store_->OpenVolume(name);
    const auto root = volume->FindInode(kRootIno);
    ReferenceModel model(store_->Find(name)->created, *root);
    twins_.push_back(std::make_unique<Twin>(
        Twin{name, volume, std::move(model), {{kModelRoot, kRootIno}}, true}));
    ++timelines_;
  }

  // What the policy promises of a volume at this moment.
  bool Promised(const Twin& twin, Instant at) {
    const uint64_t now = clock_.now();
    if (at < twin.model.instants().front()) return false;
    if (at.ns + kRange >= now || marks_[twin.name].contains(at)) return true;
    const uint64_t end = at.ns + 1;
    if (end % kHour == 0 && end + kHourlySpan >= now) return true;
    return end % (24 * kHour) == 0 && end + kDailySpan >= now;
  }

  Instant AnyInstant(const Twin& twin) {
    const auto& instants = twin.model.instants();
    const size_t i = random_.Below(instants.size());
    // Mostly of the last hours.
    const size_t recent =
        instants.size() - 1 - random_.Below(std::min<size_t>(instants.size(), 60));
    switch (random_.Below(4)) {
      case 0:
        return instants[i];
      case 1:
        return i == 0 ? instants[0] : Before(instants[i]);
      case 2:
        return instants[recent];
      default:
        return Before(instants[recent]) < instants[0] ? instants[0] : Before(instants[recent]);
    }
  }

  // An instant that can still be looked at.
  Instant AnyPromised(const Twin& twin) {
    for (int i = 0; i < 100; ++i) {
      const Instant at = AnyInstant(twin);
      if (Promised(twin, at)) return at;
    }
    return store_->Now();
  }

  std::string CheckAt(const Twin& twin, Instant at, bool collected) {
    const bool promised = Promised(twin, at);
    const Instant horizon = store_->Find(twin.name)->horizon;
    std::shared_ptr<Volume> view;
    try {
      view = store_->OpenAt(twin.name, at);
    } catch (const Refused& refused) {
      ++refused_;
      const std::string text = refused.what();
      if (promised) return twin.name + " at " + std::to_string(at.ns) + " is promised: " + text;
      if (refused.error() != ERANGE) return "refused with another errno: " + text;
      // The collector may move it at any time.
      const Instant later = store_->Find(twin.name)->horizon;
      if (at >= twin.model.instants().front() && text.find(FormatInstant(horizon)) == text.npos &&
          text.find(FormatInstant(later)) == text.npos) {
        return "does not say what is kept: " + text;
      }
      return {};
    }
    ++shown_;
    const bool pinned = forks_.contains({twin.name, at});
    if (collected && !promised && !pinned && at < horizon)
      return twin.name + " at " + std::to_string(at.ns) + " is shown although it is not kept";
    return twin.CheckView(*view, at);
  }

  // The end of an hour that is over.
  std::string CheckPoint(const Twin& twin, bool collected) {
    const uint64_t hours = random_.Below(80);
    const uint64_t now = clock_.now();
    const uint64_t end = now / kHour * kHour;
    if (end < hours * kHour) return {};
    return CheckAt(twin, Instant{end - hours * kHour - 1}, collected);
  }

  std::string Mark() {
    Twin& twin = AnyTwin();
    const std::string label = "mark " + std::to_string(next_name_++);
    std::optional<Instant> at;
    if (random_.OneIn(2)) at = AnyPromised(twin);
    marks_[twin.name].insert(store_->SetMark({twin.name}, label, "", at));
    if (random_.OneIn(3)) {
      const std::vector<rw::Mark> marks = store_->Marks(twin.name);
      const rw::Mark& one = random_.PickFrom(marks);
      store_->RemoveMark(twin.name, one.label);
      marks_[twin.name].clear();
      for (const rw::Mark& mark : store_->Marks(twin.name)) marks_[twin.name].insert(mark.at);
    }
    return {};
  }

  std::string Clone() {
    if (twins_.size() >= 4) return {};
    Twin& source = AnyTwin();
    CreateRequest request;
    request.name = FreeName();
    request.source_kind = SourceKind::kCloneOf;
    request.source = source.name;
    request.at = AnyPromised(source);
    store_->Create(request);
    forks_.insert({source.name, *request.at});
    const auto record = store_->Find(request.name);
    twins_.push_back(std::make_unique<Twin>(
        Twin{request.name, store_->OpenVolume(request.name),
             ReferenceModel::CloneOf(source.model, *request.at, record->created), source.inos,
             source.exact_usage && source.model.UnlinkedAt(*request.at).empty()}));
    ++timelines_;
    return {};
  }

  std::string Snapshot() {
    if (snapshots_.size() >= 3) {
      const size_t which = random_.Below(snapshots_.size());
      store_->Remove(snapshots_[which].first.name);
      snapshots_.erase(snapshots_.begin() + static_cast<ptrdiff_t>(which));
    }
    const Twin& source = AnyTwin();
    CreateRequest request;
    request.name = FreeName();
    request.source_kind = SourceKind::kSnapshotOf;
    request.source = source.name;
    request.at = AnyPromised(source);
    store_->Create(request);
    forks_.insert({source.name, *request.at});
    Twin twin = source;
    twin.name = request.name;
    twin.volume.reset();
    snapshots_.emplace_back(std::move(twin), *request.at);
    return {};
  }

  std::string RollBack() {
    Twin& twin = AnyTwin();
    const Instant to = AnyPromised(twin);
    twin.ForgetAll();
    twin.volume.reset();
    CreateRequest request;
    request.name = FreeName();
    request.source_kind = SourceKind::kRollback;
    request.source = twin.name;
    request.at = to;
    store_->Create(request);
    forks_.insert({twin.name, to});
    const auto undo = store_->Find(request.name);
    forks_.insert({twin.name, *undo->fixed_at});
    Twin before = twin;
    before.name = request.name;
    snapshots_.emplace_back(std::move(before), *undo->fixed_at);
    twin.exact_usage &= twin.model.UnlinkedAt(to).empty();
    twin.model.RollBack(to, store_->Find(twin.name)->bindings.back().since);
    twin.volume = store_->OpenVolume(twin.name);
    ++timelines_;
    return twin.CheckView(*twin.volume, kInstantMax);
  }

  std::string Restart() {
    for (const auto& twin : twins_) {
      twin->ForgetAll();
      twin->volume.reset();
    }
    store_.reset();
    store_ = Store::Open(OptionsFor(root_, clock_, join_));
    for (const auto& twin : twins_) twin->volume = store_->OpenVolume(twin->name);
    return Check(false);
  }

  // A removed volume can be used by its name for as long as its trash says, and no longer.
  std::string Remove() {
    if (twins_.size() < 2) return {};
    const size_t which = random_.Below(twins_.size());
    std::unique_ptr<Twin> twin = std::move(twins_[which]);
    twins_.erase(twins_.begin() + static_cast<ptrdiff_t>(which));
    const Instant at = AnyPromised(*twin);
    twin->volume.reset();
    store_->Remove(twin->name);
    clock_.Forward(kHour);
    store_->Collect();
    CreateRequest request;
    request.name = FreeName();
    request.source_kind = SourceKind::kSnapshotOf;
    request.source = twin->name;
    request.at = at;
    store_->Create(request);
    {
      auto view = store_->OpenVolume(request.name);
      if (std::string problem = twin->CheckView(*view, at); !problem.empty())
        return "of a removed volume: " + problem;
    }
    store_->Remove(request.name);
    clock_.Forward(2 * kHour);
    store_->Collect();
    request.name = FreeName();
    try {
      store_->Create(request);
      return "the removed volume " + twin->name + " is still there after its time";
    } catch (const Refused& refused) {
      if (refused.error() != ENOENT) return refused.what();
    }
    return Check(true);
  }

  Random random_;
  RandomOperations operations_;
  const std::filesystem::path root_;
  const bool join_;  // timelines as soon as they can be
  ManualClock clock_{1'700'000'000 * ManualClock::kSecond};
  std::unique_ptr<Store> store_;
  std::vector<std::unique_ptr<Twin>> twins_;
  std::vector<std::pair<Twin, Instant>> snapshots_;
  std::map<std::string, std::set<Instant>> marks_;
  std::set<std::pair<std::string, Instant>> forks_;
  std::set<std::string> purge_;
  size_t shown_ = 0, refused_ = 0, timelines_ = 0;
  int next_name_ = 0;
};

class RetentionTest : public ::testing::TestWithParam<uint64_t> {
 protected:
  uint64_t Seed() {
    if (std::getenv("REWIND_SEED") != nullptr) return NumberFromEnvironment("REWIND_SEED", 0);
    return GetParam() < kSeeds ? GetParam() : std::random_device()();
  }
};

TEST_P(RetentionTest, WhatIsPromisedIsThereAndTheRestIsRefused) {
  if (std::getenv("REWIND_SEED") != nullptr && GetParam() != 1) GTEST_SKIP() << "one seed only";
  const uint64_t seed = Seed();
  const uint64_t operations = NumberFromEnvironment("REWIND_OPS", kOperationsPerSeed);
  std::cout << "seed " << seed << ", " << operations << " operations" << std::endl;
  TempDir dir;
  RetentionWorld world(seed, dir.path() / "root");
  Random random(seed + 2);
  for (uint64_t i = 0; i < operations; ++i) {
    SCOPED_TRACE("seed " + std::to_string(seed) + ", operation " + std::to_string(i));
    ASSERT_EQ(world.Operate(), "");
    if (i % 50 == 49) {
      ASSERT_EQ(world.CollectAndCheck(), "");
    }
    if (i % 150 == 149) {
      ASSERT_EQ(world.SomeEvent(), "");
    }
  }
  ASSERT_EQ(world.CollectAndCheck(), "");
  ASSERT_EQ(world.GiveUpEverything(), "");
  std::cout << world.shown() << " trees compared, " << world.refused() << " instants refused"
            << std::endl;
}

TEST_P(RetentionTest, CollectingBesideWritersAndReaders) {
  if (std::getenv("REWIND_SEED") != nullptr && GetParam() != 1) GTEST_SKIP() << "one seed only";
  const uint64_t seed = Seed();
  const uint64_t operations = NumberFromEnvironment("REWIND_OPS", kOperationsPerSeed) / 2;
  std::cout << "seed " << seed << ", " << operations << " operations" << std::endl;
  TempDir dir;
  RetentionWorld world(seed, dir.path() / "root");
  std::atomic<bool> stop{false};
  std::string failure;
  std::thread collector([&] {
    try {
      while (!stop) world.store().Collect();
    } catch (const std::exception& error) {
      failure = error.what();
    }
  });
  std::string problem;
  for (uint64_t i = 0; i < operations && problem.empty(); ++i) {
    problem = world.Operate();
    if (i % 40 == 39 && problem.empty()) problem = world.Check(false);
  }
  stop = true;
  collector.join();
  ASSERT_EQ(problem, "") << "seed " << seed;
  ASSERT_EQ(failure, "") << "seed " << seed;
  ASSERT_EQ(world.CollectAndCheck(), "") << "seed " << seed;
}

// A volume that was rolled back again and again has a timeline for each time. Once nobody can look
// at the older ones any more, reads need not look through them, and they end when their data do.
TEST(RetentionChainTest, TimelinesOfOldRollbacksAreJoinedAndEnd) {
  constexpr int kRollbacks = 20;
  TempDir dir;
  ManualClock clock{1'700'000'000 * ManualClock::kSecond};
  auto store = Store::Open(OptionsFor(dir.path() / "root", clock, true));
  CreateRequest request;
  request.name = "v";
  store->Create(request);
  const auto write = [&](const std::string& name, const std::string& contents) {
    auto volume = store->OpenVolume("v");
    const auto found = volume->Lookup(kRootIno, name);
    const Ino ino = found ? found->ino : volume->Create({}, kRootIno, name, S_IFREG | 0644).ino;
    volume->Write({}, ino, 0, contents, false);
  };
  const auto expect_contents = [&](const std::string& contents) {
    auto volume = store->OpenVolume("v");
    for (int i = 0; i < kRollbacks; ++i) {
      const auto found = volume->Lookup(kRootIno, "file " + std::to_string(i));
      ASSERT_TRUE(found.has_value()) << i;
      std::string data(contents.size(), '#');
      ASSERT_EQ(volume->Read(found->ino, 0, data), data.size()) << i;
      ASSERT_EQ(data, contents) << i;
    }
    EXPECT_FALSE(volume->Lookup(kRootIno, "mistake").has_value());
    const CollectedTree tree = CollectTree(*volume);
    EXPECT_TRUE(tree.problems.empty()) << tree.ProblemText();
    EXPECT_EQ(tree.tree.size(), kRollbacks + 1u);
  };
  for (int i = 0; i < kRollbacks; ++i) {
    write("file " + std::to_string(i), std::string(5000, 'x'));
    clock.Forward(kMinute);
    request.at = store->Now();
    clock.Forward(kMinute);
    write("mistake", "m");
    request.name = "before-" + std::to_string(i);
    request.source_kind = SourceKind::kRollback;
    request.source = "v";
    store->Create(request);
    store->Remove(request.name);
  }
  EXPECT_EQ(store->Find("v")->bindings.size(), kRollbacks + 1u);
  store->Set("v", {{"keep", "none"}});
  // While a head is open: it goes on with what it knows of the longer chain.
  auto head = store->OpenVolume("v");
  clock.Forward(3 * kHour);
  write("file 0", std::string(5000, 'x'));
  clock.Forward(kHour);
  store->Collect();
  expect_contents(std::string(5000, 'x'));
  EXPECT_LE(store->Find("v")->bindings.size(), 2u);
  head.reset();
  expect_contents(std::string(5000, 'x'));
  store.reset();
  store = Store::Open(OptionsFor(dir.path() / "root", clock, true));
  expect_contents(std::string(5000, 'x'));
  // With their data overwritten, nothing is left of the older timelines.
  for (int i = 0; i < kRollbacks; ++i) write("file " + std::to_string(i), std::string(5000, 'y'));
  clock.Forward(kHour);
  store->Collect();
  expect_contents(std::string(5000, 'y'));
  const std::filesystem::directory_iterator journals(dir.path() / "root" / "journal");
  EXPECT_EQ(std::distance(begin(journals), end(journals)), 2) << "the catalog's and the head's";
}

INSTANTIATE_TEST_SUITE_P(Seeds, RetentionTest, ::testing::Range<uint64_t>(1, kSeeds + 1));

}  // namespace
}  // namespace rw::testing
