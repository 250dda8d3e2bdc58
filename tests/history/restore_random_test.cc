// Goal: whatever was done to a volume, restoring any paths of any instant that is kept gives what
// was there then and touches nothing else; undo and redo go back and forth; the past stays as it
// was; all of it also after restarts, rollbacks and collections, and while data are moved.
//
// Method: random operations; trees are remembered at instants as plain values. What a restore
// should give is computed from two of these, path by path, and compared with the volume, which is
// read with all checks. Seeds are printed; REWIND_SEED runs one, REWIND_OPS makes it longer.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <thread>

#include "fs/segment.h"
#include "fs/store.h"
#include "fs/volume.h"
#include "metadata/refused.h"
#include "tests/support/manual_clock.h"
#include "tests/support/random.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tree.h"

namespace rw::testing {
namespace {

constexpr uint64_t kSecond = ManualClock::kSecond;

class RestoreWorld {
 public:
  explicit RestoreWorld(uint64_t seed) : random_(seed) {
    Open();
    CreateRequest request;
    request.name = "v";
    store_->Create(request);
    volume_ = store_->OpenVolume("v");
  }

  Store& store() { return *store_; }
  ManualClock& clock() { return clock_; }

  void Open() {
    volume_.reset();
    store_.reset();
    StoreOptions options(temp_.path() / "root", clock_.AsFunction());
    options.max_segment_bytes = kMinSegmentBytes;
    options.collector.background = false;
    options.collector.reserve_bytes = 0;
    options.defaults = {{"retention", "10m"}, {"keep", "none"}, {"trash", "0"}};
    store_ = Store::Open(std::move(options));
    if (store_->Find("v")) volume_ = store_->OpenVolume("v");
  }

  Tree Now() {
    CollectedTree collected = CollectTree(*volume_);
    EXPECT_EQ(collected.ProblemText(), "");
    return collected.tree;
  }

  void Step() {
    clock_.Forward(random_.Below(4 * kSecond));
    const uint64_t choice = random_.Below(100);
    if (choice < 66) {
      Operate();
    } else if (choice < 78) {
      const Instant at = store_->Now();
      remembered_[at] = CollectTree(*store_->OpenAt("v", at)).tree;
    } else if (choice < 90) {
      Restore();
    } else if (choice < 93) {
      Undo();
    } else if (choice < 96) {
      store_->Collect();
    } else if (choice < 98) {
      CheckPast();
    } else if (choice < 99) {
      Open();
    } else {
      RollBack();
    }
  }

  void ExpectSound() {
    const CheckReport report = store_->Check({});
    for (const Hurt& hurt : report.hurts) ADD_FAILURE() << hurt.what << " " << hurt.path;
  }

 private:
  struct Named {
    Ino parent;
    std::string name;
    InodeAttr at;
  };

  // --- random operations ---
  std::vector<Named> All() {
    std::vector<Named> all;
    std::vector<Ino> open = {kRootIno};
    while (!open.empty()) {
      const Ino dir = open.back();
      open.pop_back();
      for (const DirEntry& entry : volume_->ReadDir(dir, 0, 10'000)) {
        all.push_back({dir, entry.name, *volume_->Lookup(dir, entry.name)});
        if (entry.type == S_IFDIR) open.push_back(entry.ino);
      }
    }
    return all;
  }
  Ino AnyDirectory(const std::vector<Named>& all) {
    std::vector<Ino> directories = {kRootIno};
    for (const Named& each : all) {
      if (each.at.inode.is_dir()) directories.push_back(each.at.ino);
    }
    return random_.PickFrom(directories);
  }
  void Operate() {
    try {
      TryToOperate();
    } catch (const Refused&) {
      // As any program's operation may be.
    }
    for (const Ino ino : volume_->Unlinked()) {
      if (random_.OneIn(2)) volume_->Forget(ino);
    }
  }
  void TryToOperate() {
    const std::vector<Named> all = All();
    const Ino dir = AnyDirectory(all);
    const std::string name(1, static_cast<char>('a' + random_.Below(6)));
    const uint64_t choice = random_.Below(all.size() < 50 ? 100 : 70);
    if (choice >= 70 || all.empty()) {
      constexpr uint32_t kModes[] = {S_IFREG | 0644, S_IFREG | 04755, S_IFDIR | 0755,
                                     S_IFDIR | 0700, S_IFDIR | 01777, S_IFLNK | 0777,
                                     S_IFIFO | 0600, S_IFREG | 0600};
      const uint32_t mode = random_.Pick(kModes);
      volume_->Create({}, dir, name, mode, 0, S_ISLNK(mode) ? "x/" + name : "");
      return;
    }
    const Named& one = random_.PickFrom(all);
    const Ino ino = one.at.ino;
    if (choice < 25) {
      volume_->Write({}, ino, random_.Below(3) * 200'000 + random_.Below(9000),
                     random_.Bytes(1 + random_.Below(30'000)), false);
    } else if (choice < 30) {
      AttrChange change;
      change.size = random_.Below(500'000);
      volume_->SetAttr({}, ino, change);
    } else if (choice < 34) {
      AttrChange change;
      change.mode = random_.Below(07777);
      change.uid = random_.Below(3);
      change.mtime = FileTime{static_cast<int64_t>(random_.Below(100'000)), 5};
      volume_->SetAttr({}, ino, change);
    } else if (choice < 40) {
      volume_->SetXattr({}, ino, "user." + name, random_.Bytes(random_.Below(300)), 0);
    } else if (choice < 43) {
      volume_->RemoveXattr({}, ino, "user." + name);
    } else if (choice < 49) {
      volume_->Link({}, ino, dir, name);
    } else if (choice < 58) {
      volume_->Rename({}, one.parent, one.name, dir, name, random_.OneIn(4) ? 2 : 0);
    } else if (choice < 63) {
      volume_->CopyRange({}, ino, 0, random_.PickFrom(all).at.ino, random_.Below(10'000), 400'000);
    } else if (one.at.inode.is_dir()) {
      volume_->Rmdir({}, one.parent, one.name);
    } else {
      volume_->Unlink({}, one.parent, one.name);
    }
  }

  // --- what should be ---
  static bool IsIn(const std::string& path, const std::string& top) {
    return path == top || path.starts_with(top + "/");
  }
  // Without what a restore does not keep, and with links named in one way.
  static Tree Plain(const Tree& tree, const std::map<std::string, std::string>& groups) {
    std::map<std::string, std::string> first;
    Tree plain;
    for (const auto& [path, node] : tree) {
      TreeNode copy = node;
      copy.ctime = {};
      if (!S_ISDIR(copy.mode)) copy.nlink = 0;
      copy.same_as = first.try_emplace(groups.at(path), path).first->second;
      plain[path] = copy;
    }
    return plain;
  }
  static std::map<std::string, std::string> GroupsOf(const Tree& tree, const std::string& prefix) {
    std::map<std::string, std::string> groups;
    for (const auto& [path, node] : tree)
      groups[path] = prefix + (node.same_as.empty() ? path : node.same_as);
    return groups;
  }
  // The tree that `tops` of `then` in `now` give, and its groups of links.
  static void Replace(const Tree& then, const std::vector<std::string>& tops, Tree* now,
                      std::map<std::string, std::string>* groups) {
    const auto then_groups = GroupsOf(then, "then ");
    for (const std::string& top : tops) {
      std::erase_if(*now, [&](const auto& each) { return IsIn(each.first, top); });
      std::erase_if(*groups, [&](const auto& each) { return IsIn(each.first, top); });
      for (const auto& [path, node] : then) {
        // Directories above it that are not there.
        const bool above = IsIn(top, path) && !now->contains(path) && then.contains(top);
        if (!IsIn(path, top) && !above) continue;
        (*now)[path] = node;
        (*groups)[path] = then_groups.at(path);
      }
    }
  }
  // Directories' links are their subdirectories; times of those that got an entry are others.
  static void Settle(const std::vector<std::string>& tops, Tree* tree) {
    for (auto& [path, node] : *tree) {
      if (!S_ISDIR(node.mode)) continue;
      node.nlink = 0;
      for (const std::string& top : tops) {
        if (IsIn(top, path) && path != top) node.mtime = {};
        if (path == "/") node.mtime = {};
      }
    }
  }

  void Compare(Tree expected, const std::map<std::string, std::string>& groups, Tree actual,
               const std::vector<std::string>& tops) {
    expected = Plain(expected, groups);
    actual = Plain(actual, GroupsOf(actual, ""));
    Settle(tops, &expected);
    Settle(tops, &actual);
    ASSERT_EQ(Difference(expected, actual), "");
  }

  void Restore() {
    if (remembered_.empty()) return;
    auto chosen = remembered_.begin();
    std::advance(chosen, static_cast<ptrdiff_t>(random_.Below(remembered_.size())));
    const auto& [at, then] = *chosen;
    if (then.size() < 2) return;
    RestoreRequest request;
    request.volume = "v";
    request.at = at;
    std::vector<std::string> tops;
    for (uint64_t i = 0; i <= random_.Below(3); ++i) {
      const std::string path = random_.PickFrom(then).first;
      if (path == "/") continue;
      request.paths.push_back(path);
    }
    if (request.paths.empty()) return;
    for (const std::string& path : request.paths) {
      const bool in_other =
          std::any_of(request.paths.begin(), request.paths.end(),
                      [&](const std::string& other) { return other != path && IsIn(path, other); });
      if (!in_other) tops.push_back(path);
    }
    Tree expected = Now();
    auto groups = GroupsOf(expected, "now ");
    try {
      store_->Restore(request, {});
    } catch (const Refused& refused) {
      const bool gone = refused.error() == ERANGE;
      if (gone) remembered_.erase(chosen);
      // Or something that is no directory is where one was.
      ASSERT_TRUE(gone || refused.error() == ENOTDIR) << refused.what();
      Compare(expected, groups, Now(), {});
      return;
    }
    Replace(then, tops, &expected, &groups);
    Compare(expected, groups, Now(), tops);
  }

  void Undo() {
    const auto action = ChooseUndo(store_->ListTakenBack("v"), random_.OneIn(3));
    if (!action) return;
    try {
      if (action->rollback) {
        volume_.reset();
        const Tree then = CollectTree(*store_->OpenAt("v", Before(action->at))).tree;
        store_->UndoRollback("v", *action, false);
        volume_ = store_->OpenVolume("v");
        ASSERT_EQ(Difference(then, Now()), "");
        return;
      }
      Tree expected = Now();
      auto groups = GroupsOf(expected, "now ");
      RestoreRequest request;
      request.volume = "v";
      request.paths = action->paths;
      request.at = Before(action->at);
      request.undoes = action->at;
      const Tree then = CollectTree(*store_->OpenAt("v", request.at)).tree;
      const RestoreReport report = store_->Restore(request, {});
      // What is not there any more and was not there then, has nothing to be done.
      Replace(then, action->paths, &expected, &groups);
      Compare(expected, groups, Now(), action->paths);
    } catch (const Refused& refused) {
      ASSERT_TRUE(refused.error() == ERANGE || refused.error() == ENOTDIR) << refused.what();
      if (!volume_) volume_ = store_->OpenVolume("v");
    }
  }

  void RollBack() {
    if (remembered_.empty()) return;
    const auto& [at, then] = random_.PickFrom(remembered_);
    volume_.reset();
    try {
      CreateRequest request;
      request.name = "before";
      request.source_kind = SourceKind::kRollback;
      request.source = "v";
      request.at = at;
      store_->Create(request);
      store_->Remove("before");
      volume_ = store_->OpenVolume("v");
      ASSERT_EQ(Difference(then, Now()), "");
    } catch (const Refused& refused) {
      ASSERT_EQ(refused.error(), ERANGE) << refused.what();
      volume_ = store_->OpenVolume("v");
    }
  }

  void CheckPast() {
    if (remembered_.empty()) return;
    const auto& [at, then] = random_.PickFrom(remembered_);
    try {
      const auto view = store_->OpenAt("v", at);
      ASSERT_EQ(Difference(then, CollectTree(*view).tree), "");
    } catch (const Refused& refused) {
      ASSERT_EQ(refused.error(), ERANGE) << refused.what();
    }
  }

  TempDir temp_;
  ManualClock clock_;
  Random random_;
  std::unique_ptr<Store> store_;
  std::shared_ptr<Volume> volume_;
  std::map<Instant, Tree> remembered_;
};

class RandomRestoreTest : public ::testing::TestWithParam<uint64_t> {};

TEST_P(RandomRestoreTest, GivesWhatWasThereAndTouchesNothingElse) {
  const uint64_t seed = NumberFromEnvironment("REWIND_SEED", GetParam());
  SCOPED_TRACE("REWIND_SEED=" + std::to_string(seed));
  RestoreWorld world(seed);
  const uint64_t steps = NumberFromEnvironment("REWIND_OPS", 700);
  for (uint64_t i = 0; i < steps && !::testing::Test::HasFailure(); ++i) {
    SCOPED_TRACE("step " + std::to_string(i));
    world.Step();
  }
  world.ExpectSound();
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomRestoreTest, ::testing::Range<uint64_t>(1, 7));

// Files are restored, again and again, while others move the data that they share and free where
// these were. Each is read back after the history that it came from has gone.
TEST(RestoreWhileMovingTest, WhatIsRestoredIsNeverFreed) {
  const uint64_t seed = NumberFromEnvironment("REWIND_SEED", 1);
  SCOPED_TRACE("REWIND_SEED=" + std::to_string(seed));
  Random random(seed);
  RestoreWorld world(seed);
  Store& store = world.store();
  store.Set("v", {{"retention", "10s"}});
  const auto volume = store.OpenVolume("v");
  constexpr size_t kPiece = 8192;
  std::map<std::string, std::string> contents;
  for (int i = 0; i < 12; ++i) {
    const std::string name = "f" + std::to_string(i);
    const Ino ino = volume->Create({}, kRootIno, name, S_IFREG | 0644, 0, {}).ino;
    for (int piece = 0; piece < 12; ++piece) {
      // Between data that die, so that segments are worth emptying.
      const std::string bytes = random.Bytes(kPiece);
      volume->Write({}, ino, static_cast<uint64_t>(piece) * kPiece, bytes, false);
      contents[name] += bytes;
      const std::string dying = "dying" + std::to_string(piece % 3);
      const auto found = volume->Lookup(kRootIno, dying);
      const Ino other =
          found ? found->ino : volume->Create({}, kRootIno, dying, S_IFREG | 0644, 0, {}).ino;
      volume->Write({}, other, 0, random.Bytes(kPiece * 2), false);
    }
  }
  const Instant then = store.Now();
  store.SetMark({"v"}, "then", "", then);
  for (const auto& [name, text] : contents) volume->Unlink({}, kRootIno, name);
  for (const Ino ino : volume->Unlinked()) volume->Forget(ino);
  std::atomic<bool> stop{false};
  std::thread collector([&] {
    while (!stop) {
      world.clock().Forward(kSecond);
      store.Collect();
    }
  });
  const uint64_t rounds = NumberFromEnvironment("REWIND_OPS", 60);
  const Ino churn = volume->Create({}, kRootIno, "churn", S_IFREG | 0644, 0, {}).ino;
  for (uint64_t round = 0; round < rounds; ++round) {
    for (int i = 0; i < 6; ++i) volume->Write({}, churn, 0, random.Bytes(kPiece * 3), false);
    RestoreRequest request;
    request.volume = "v";
    request.at = then;
    const std::string name = random.PickFrom(contents).first;
    request.paths = {name};
    store.Restore(request, {});
    const std::string kept = random.PickFrom(contents).first;
    const auto found = volume->Lookup(kRootIno, kept);
    if (!found) continue;
    std::string text(found->inode.size, '\0');
    text.resize(volume->Read(found->ino, 0, text));
    ASSERT_EQ(text == contents[kept], true) << kept << " in round " << round;
  }
  store.RemoveMark("v", "then");
  for (int i = 0; i < 20; ++i) {
    world.clock().Forward(2 * kSecond);
    volume->Write({}, churn, 0, random.Bytes(kPiece * 3), false);
    store.Collect();
  }
  stop = true;
  collector.join();
  for (const auto& [name, text] : contents) {
    const auto found = volume->Lookup(kRootIno, name);
    if (!found) continue;
    std::string read(found->inode.size, '\0');
    read.resize(volume->Read(found->ino, 0, read));
    EXPECT_EQ(read == text, true) << name;
  }
  world.ExpectSound();
}

}  // namespace
}  // namespace rw::testing
