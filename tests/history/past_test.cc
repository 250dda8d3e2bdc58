// Goal: what is found in the past of a volume is what was there: the versions of a path, paths that
// are no more, and what differs between two instants, across rollbacks too.
//
// Method: random operations through the library beside a reference model that keeps every state,
// with rollbacks in between (also of rollbacks, so that inode numbers are given out again); then
// each question is answered from the model's trees at all instants as well. REWIND_SEED repeats one
// seed, REWIND_OPS makes the run longer or shorter.
#include "fs/past.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <chrono>
#include <map>
#include <random>
#include <set>

#include "fs/deleted.h"
#include "fs/path_history.h"
#include "fs/store.h"
#include "fs/tree_diff.h"
#include "tests/support/random_operations.h"
#include "tests/support/system_clock.h"
#include "tests/support/temp_dir.h"
#include "tests/support/twin.h"

namespace rw::testing {
namespace {

constexpr uint64_t kSeeds = 5;
constexpr uint64_t kOperations = 500;
constexpr char kVolume[] = "v";

// The tree at one instant, by path, with the model's inodes.
struct Moment {
  Instant at;
  std::map<std::string, ModelIno> inos;
  std::map<std::pair<ModelIno, std::string>, ModelIno> names;
};

class World {
 public:
  World(uint64_t seed, const std::filesystem::path& root)
      : random_(seed), operations_(seed + 1, Profile(seed)) {
    StoreOptions options(root, SystemNanoseconds);
    options.collector.background = false;
    store_ = Store::Open(options);
    CreateRequest request;
    request.name = kVolume;
    store_->Create(request);
    auto volume = store_->OpenVolume(kVolume);
    ReferenceModel model(store_->Find(kVolume)->created, *volume->FindInode(kRootIno));
    twin_.emplace(Twin{kVolume, std::move(volume), std::move(model), {{kModelRoot, kRootIno}}});
  }

  void Operate(uint64_t count) {
    for (uint64_t i = 0; i < count; ++i) {
      ASSERT_EQ(twin_->Step(operations_.Next(twin_->model)), "");
      if (random_.OneIn(120)) RollBack();
    }
    for (const Instant at : twin_->model.instants()) moments_.push_back(MomentAt(at));
  }

  const ReferenceModel& model() const { return twin_->model; }
  const std::vector<Moment>& moments() const { return moments_; }
  const Moment& AnyMoment() { return moments_[random_.Below(moments_.size())]; }
  const std::set<Instant>& rollbacks() const { return rollbacks_; }
  Store& store() { return *store_; }
  Random& random() { return random_; }
  std::set<std::string> AllPaths() const {
    std::set<std::string> paths;
    for (const Moment& moment : moments_) {
      for (const auto& [path, ino] : moment.inos) paths.insert(path);
    }
    return paths;
  }

 private:
  static OperationProfile Profile(uint64_t seed) {
    OperationProfile profile;
    profile.max_write = 200'000;
    profile.max_inodes = seed % 2 == 0 ? 12 : 60;
    return profile;
  }

  void RollBack() {
    const auto& instants = twin_->model.instants();
    const Instant to = instants[random_.Below(instants.size())];
    twin_->ForgetAll();
    twin_->volume.reset();
    CreateRequest request;
    request.name = "undo-" + std::to_string(rollbacks_.size());
    request.source_kind = SourceKind::kRollback;
    request.source = kVolume;
    request.at = to;
    store_->Create(request);
    const Instant since = store_->Find(kVolume)->bindings.back().since;
    rollbacks_.insert(since);
    twin_->model.RollBack(to, since);
    twin_->volume = store_->OpenVolume(kVolume);
  }

  Moment MomentAt(Instant at) const {
    Moment moment{at, {}, {}};
    Add(at, "", kModelRoot, &moment);
    return moment;
  }
  void Add(Instant at, const std::string& path, ModelIno ino, Moment* moment) const {
    moment->inos[path.empty() ? "/" : path] = ino;
    for (const auto& [name, child] : model().FindAt(ino, at)->entries) {
      moment->names[{ino, name}] = child;
      Add(at, path + "/" + name, child, moment);
    }
  }

  Random random_;
  RandomOperations operations_;
  std::unique_ptr<Store> store_;
  std::optional<Twin> twin_;  // goes before its store
  std::vector<Moment> moments_;
  std::set<Instant> rollbacks_;
};

class PastTest : public ::testing::TestWithParam<uint64_t> {
 protected:
  void SetUp() override {
    const bool one = std::getenv("REWIND_SEED") != nullptr;
    if (one && GetParam() != 1) GTEST_SKIP() << "one seed only";
    // The last one is new every time, the others are the same for everybody.
    seed_ = one                   ? NumberFromEnvironment("REWIND_SEED", 0)
            : GetParam() < kSeeds ? GetParam()
                                  : std::random_device()();
    std::cout << "seed " << seed_ << std::endl;
    world_.emplace(seed_, dir_.path() / "root");
    world_->Operate(NumberFromEnvironment("REWIND_OPS", kOperations));
  }

  const ModelNode* NodeAt(const std::string& path, const Moment& moment) const {
    const auto found = moment.inos.find(path);
    return found == moment.inos.end() ? nullptr : world_->model().FindAt(found->second, moment.at);
  }

  // What the path showed as of each instant, or a line that says how the walk differs.
  std::string CheckWalk(const Past& past, const std::string& path) const {
    std::vector<PathState> states;
    PathWalk walk(past, SplitPath(path), past.now());
    while (const auto state = walk.Next()) states.push_back(*state);
    size_t next = 0;
    for (auto moment = world_->moments().rbegin(); moment != world_->moments().rend(); ++moment) {
      const std::string where = path + " at " + std::to_string(moment->at.ns) + ": ";
      while (next < states.size() && states[next].from > moment->at) ++next;
      if (next == states.size() || states[next].last < moment->at) return where + "no state";
      const PathState& state = states[next];
      const ModelNode* node = NodeAt(path, *moment);
      if (state.present() != (node != nullptr)) return where + "is there, or is not";
      if (node == nullptr) continue;
      const Inode& inode = state.inode;
      if (inode.mode != node->mode || inode.uid != node->uid || inode.nlink != node->nlink ||
          inode.mtime != node->mtime || inode.ctime != node->ctime)
        return where + "other attributes";
      if (node->is_regular() && inode.size != node->content->size()) return where + "another size";
    }
    return "";
  }

  std::vector<PathChange> Changes(const Past& past, const std::string& path, bool each,
                                  size_t limit) const {
    std::vector<PathChange> changes;
    PathHistoryQuery query;
    query.each = each;
    query.limit = limit;
    for (;;) {
      PathHistory history = ReadPathHistory(past, SplitPath(path), query);
      for (PathChange& change : history.changes) changes.push_back(std::move(change));
      if (!history.next) return changes;
      query.until = *history.next;
    }
  }

  bool IsLinked(ModelIno ino, const Moment& moment) const {
    const ModelNode* node = world_->model().FindAt(ino, moment.at);
    return node != nullptr && node->nlink > 0;
  }

  bool IsChanged(ModelIno ino, const Moment& before, const Moment& after) const {
    const ModelNode& a = *world_->model().FindAt(ino, before.at);
    const ModelNode& b = *world_->model().FindAt(ino, after.at);
    if (a.mode != b.mode || a.uid != b.uid || a.gid != b.gid || a.xattrs != b.xattrs) return true;
    return !a.is_dir() && a.mtime != b.mtime;
  }

  std::string CheckDiff(const Past& past, const Moment& before, const Moment& after,
                        bool use_events);

  uint64_t seed_ = 0;
  TempDir dir_;
  std::optional<World> world_;
};

TEST_P(PastTest, PathsShowWhatTheyShowed) {
  const auto past = world_->store().OpenPast(kVolume);
  for (const std::string& path : world_->AllPaths()) ASSERT_EQ(CheckWalk(*past, path), "");
  ASSERT_EQ(CheckWalk(*past, "/never/there"), "");
}

TEST_P(PastTest, ChangesAreToldOnceHoweverTheyArePaged) {
  const auto past = world_->store().OpenPast(kVolume);
  for (const std::string& path : world_->AllPaths()) {
    const auto whole = Changes(*past, path, true, 1'000'000);
    const auto paged = Changes(*past, path, true, 1 + world_->random().Below(9));
    const auto grouped = Changes(*past, path, false, 1 + world_->random().Below(9));
    ASSERT_EQ(whole.size(), paged.size()) << path;
    uint64_t told = 0;
    for (const PathChange& change : grouped) told += change.count;
    EXPECT_EQ(told, whole.size()) << path;
    for (size_t i = 0; i < whole.size(); ++i) {
      ASSERT_EQ(whole[i].state.from, paged[i].state.from) << path;
      ASSERT_EQ(whole[i].what, paged[i].what) << path;
      // Each is a change: at the instant before, the path showed something else.
      const auto& moments = world_->moments();
      const auto at = std::find_if(moments.begin(), moments.end(), [&](const Moment& moment) {
        return moment.at == whole[i].state.from;
      });
      ASSERT_NE(at, moments.end()) << path << ": nothing happened at " << whole[i].state.from.ns;
      if (at == moments.begin()) continue;
      const ModelNode* before = NodeAt(path, *std::prev(at));
      const ModelNode* after = NodeAt(path, *at);
      ASSERT_TRUE(before != after) << path << " did not change at " << at->at.ns;
      if (after == nullptr) continue;
      const bool created = whole[i].what == std::vector<std::string>{"created"};
      if (created) {
        EXPECT_FALSE(before != nullptr) << path;
        EXPECT_EQ(world_->model().FindAt(at->inos.at(path), std::prev(at)->at), nullptr) << path;
      }
    }
  }
}

TEST_P(PastTest, RenamingsNameBothEnds) {
  const auto past = world_->store().OpenPast(kVolume);
  size_t found = 0;
  for (const std::string& path : world_->AllPaths()) {
    for (const PathChange& change : Changes(*past, path, true, 100)) {
      const auto& moments = world_->moments();
      const auto at = std::find_if(moments.begin(), moments.end(), [&](const Moment& moment) {
        return moment.at == change.state.from;
      });
      ASSERT_NE(at, moments.end());
      if (!change.renamed_from.empty()) {
        ++found;
        ASSERT_EQ(std::prev(at)->inos.at(change.renamed_from), at->inos.at(path));
      }
      if (!change.renamed_to.empty()) {
        ++found;
        ASSERT_EQ(at->inos.at(change.renamed_to), std::prev(at)->inos.at(path));
      }
    }
  }
  EXPECT_GT(found, 0u);
}

TEST_P(PastTest, DeletedPathsAreThoseThatWereRemoved) {
  const auto past = world_->store().OpenPast(kVolume);
  const auto& moments = world_->moments();
  for (const Instant since : {Instant{}, world_->AnyMoment().at}) {
    std::map<std::string, std::pair<Instant, Instant>> expected;  // last one there, first one gone
    for (const std::string& path : world_->AllPaths()) {
      size_t last = moments.size() - 1;
      if (moments[last].inos.contains(path)) continue;
      while (!moments[last].inos.contains(path)) --last;
      const Moment& there = moments[last];
      const Moment& gone = moments[last + 1];
      const ModelIno ino = there.inos.at(path);
      const ModelNode* before = world_->model().FindAt(ino, there.at);
      const ModelNode* after = world_->model().FindAt(ino, gone.at);
      const bool moved = after != nullptr && after->nlink > 0 &&
                         (after->is_dir() || after->nlink >= before->nlink);
      if (!moved && gone.at >= since) expected[path] = {there.at, gone.at};
    }
    std::map<std::string, DeletedPath> found;
    DeletedQuery query;
    query.since = since;
    query.limit = 1 + world_->random().Below(20);
    for (;;) {
      DeletedPage page = FindDeleted(*past, query);
      for (DeletedPath& path : page.paths) found.emplace(path.path, path);
      if (!page.next) break;
      query = *page.next;
    }
    for (const auto& [path, instants] : expected) {
      ASSERT_TRUE(found.contains(path))
          << path << " was removed at " << instants.second.ns << ", "
          << (world_->rollbacks().contains(instants.second) ? "by a rollback" : "by an operation")
          << ", since " << since.ns;
      EXPECT_EQ(found[path].gone, instants.second) << path;
      EXPECT_EQ(found[path].state.last, Before(instants.second)) << path;
      EXPECT_EQ(found[path].rolled_back, world_->rollbacks().contains(instants.second)) << path;
    }
    for (const auto& [path, deleted] : found) EXPECT_TRUE(expected.contains(path)) << path;
  }
}

std::string PathOfName(const Moment& moment, const std::pair<ModelIno, std::string>& name) {
  for (const auto& [path, ino] : moment.inos) {
    if (ino == name.first) return (path == "/" ? "" : path) + "/" + name.second;
  }
  return "?";
}

std::string PastTest::CheckDiff(const Past& past, const Moment& before, const Moment& after,
                                bool use_events) {
  const TreeDiff diff = CompareInstants(world_->store(), past, before.at, after.at, use_events);
  if (diff.by_events != (use_events || before.at == after.at)) return "read otherwise";
  std::multiset<std::string> went, came, told_went, told_came;
  for (const auto& [name, ino] : before.names) {
    const auto found = after.names.find(name);
    if (found == after.names.end() || found->second != ino) went.insert(PathOfName(before, name));
  }
  for (const auto& [name, ino] : after.names) {
    const auto found = before.names.find(name);
    if (found == before.names.end() || found->second != ino) came.insert(PathOfName(after, name));
  }
  std::set<ModelIno> changed;
  for (const auto& [path, ino] : after.inos) {
    if (IsLinked(ino, before) && IsLinked(ino, after) && IsChanged(ino, before, after))
      changed.insert(ino);
  }
  std::set<ModelIno> told_changed;
  for (const TreeChange& change : diff.changes) {
    const bool replaced =
        std::count(change.what.begin(), change.what.end(), std::string("replaced")) > 0;
    const bool same = change.ino_before == change.ino_after && change.before && change.after &&
                      !(change.kind == TreeChange::Kind::kChanged && replaced);
    switch (change.kind) {
      case TreeChange::Kind::kAdded:
        told_came.insert(change.path);
        break;
      case TreeChange::Kind::kRemoved:
        told_went.insert(change.path);
        break;
      case TreeChange::Kind::kRenamed:
        told_came.insert(change.path);
        told_went.insert(change.old_path);
        // What it took the place of is not told apart; its path before may be another.
        if (replaced) told_went.insert("replaced");
        break;
      case TreeChange::Kind::kChanged:
        if (replaced) {
          told_came.insert(change.path);
          told_went.insert("replaced");
        }
        break;
    }
    if (!same) continue;
    if (!after.inos.contains(change.path)) return "no such path: " + change.path;
    const ModelIno ino = after.inos.at(change.path);
    const auto old = before.inos.find(change.old_path.empty() ? change.path : change.old_path);
    if (old == before.inos.end() || old->second != ino) return "it was not " + change.old_path;
    const size_t whats = change.what.size() - (replaced ? 1 : 0);
    if (whats > 0) told_changed.insert(ino);
    const bool contents = whats > 0 && change.what.front() == "contents";
    if (whats > 0 && !contents && !changed.contains(ino)) return "not changed: " + change.path;
  }
  if (told_came != came) return "other names came";
  if (told_went.size() != went.size()) return "another number of names went";
  for (const std::string& path : told_went) {
    if (path != "replaced" && !went.contains(path)) return "did not go: " + path;
  }
  for (const ModelIno ino : changed) {
    if (!told_changed.contains(ino)) return "a change is missing: " + std::to_string(ino);
  }
  return "";
}

TEST_P(PastTest, TwoInstantsDifferInWhatChanged) {
  const auto past = world_->store().OpenPast(kVolume);
  for (int i = 0; i < 60; ++i) {
    const Moment& a = world_->AnyMoment();
    const Moment& b = world_->AnyMoment();
    for (const bool use_events : {true, false}) {
      ASSERT_EQ(CheckDiff(*past, a, b, use_events), "")
          << a.at.ns << " and " << b.at.ns << (use_events ? ", by events" : ", by keys");
    }
  }
}

// Prints how long it takes; REWIND_FILES for more of them.
TEST(LargePastTest, FewChangesAmongManyFilesAreFound) {
  const uint64_t files = NumberFromEnvironment("REWIND_FILES", 20'000);
  constexpr uint64_t kFilesPerDirectory = 1000;
  const uint64_t changed = std::min<uint64_t>(files / 20, 1000);
  TempDir dir;
  StoreOptions options(dir.path() / "root", SystemNanoseconds);
  options.collector.background = false;
  const auto store = Store::Open(options);
  CreateRequest request;
  request.name = kVolume;
  store->Create(request);
  const auto volume = store->OpenVolume(kVolume);
  std::vector<Ino> inos;
  Ino directory = 0;
  for (uint64_t i = 0; i < files; ++i) {
    if (i % kFilesPerDirectory == 0)
      directory = volume->Create({}, kRootIno, "d" + std::to_string(i), S_IFDIR | 0755).ino;
    inos.push_back(volume->Create({}, directory, "f" + std::to_string(i), S_IFREG | 0644).ino);
  }
  const Instant before = store->Now();
  std::set<std::string> expected;
  for (uint64_t i = 0; i < changed; ++i) {
    const uint64_t file = i * (files / changed);
    volume->Write({}, inos[file], 0, std::string("changed"), false);
    expected.insert("/d" + std::to_string(file / kFilesPerDirectory * kFilesPerDirectory) + "/f" +
                    std::to_string(file));
  }
  const auto past = store->OpenPast(kVolume);
  for (const bool use_events : {true, false}) {
    const auto begin = std::chrono::steady_clock::now();
    const TreeDiff diff = CompareInstants(*store, *past, before, past->now(), use_events);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    std::cout << changed << " changes among " << files << " files, "
              << (use_events ? "by events: " : "by keys: ") << took.count() << " s" << std::endl;
    std::set<std::string> told;
    for (const TreeChange& change : diff.changes) told.insert(change.path);
    EXPECT_EQ(told, expected);
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, PastTest, ::testing::Range<uint64_t>(1, kSeeds + 1));

}  // namespace
}  // namespace rw::testing
