// Goal: after every short sequence of operations, a completed fsync means that a power failure
// leaves all of it, and a failure before that leaves a prefix of it.
//
// Method: every sequence of one, two or three operations from a list that has each kind of
// operation, on a small tree, followed by an fsync and by one operation that nobody syncs; the way
// of "ACE" (Mohan et al., OSDI 2018). The power fails at points of the sequence, and the disks that
// may be left are compared with the reference model as in power_failure_test.cc. Sequences of three
// are too many for every day: REWIND_ALL=1 takes all of them, and tries all points and all kinds of
// loss. REWIND_SEED chooses others.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/falloc.h>
#include <spdlog/spdlog.h>
#include <stdio.h>
#include <sys/stat.h>

#include <iostream>

#include "tests/support/disk_model.h"
#include "tests/support/power_world.h"

namespace rw::testing {
namespace {

constexpr uint64_t kShards = 6;
constexpr uint64_t kDisksPerSequence = 2;
constexpr uint64_t kOneOfTriples = 90;  // so many are tried every day
const std::string kVolume = "v";

struct Senseless {};  // an operation in a sequence that has nothing to work on

// Operations by path on the one volume.
class Script {
 public:
  explicit Script(PowerWorld& world) : world_(world) {}

  void Create(const std::string& path, uint32_t mode, const std::string& target = {}) {
    Operation op = Named(OperationKind::kCreate, path);
    op.mode = mode;
    op.data = target;
    Do(op);
  }
  void Unlink(const std::string& path) { Do(Named(OperationKind::kUnlink, path)); }
  void Rmdir(const std::string& path) { Do(Named(OperationKind::kRmdir, path)); }
  void Rename(const std::string& from, const std::string& to, int flags = 0) {
    Operation op = Named(OperationKind::kRename, from);
    op.flags = flags;
    Find(from);
    SetOther(op, to);
    Do(op);
  }
  void Link(const std::string& from, const std::string& to) { LinkInode(Find(from), to); }
  void LinkUnnamed(const std::string& to) {
    Operation op;
    op.kind = OperationKind::kCreateUnnamed;
    op.ino = kModelRoot;
    op.mode = 0640;
    Do(op);
    const ModelIno made = *model().unlinked().rbegin();
    WriteInode(made, 0, 3000);
    LinkInode(made, to);
  }
  void Write(const std::string& path, uint64_t offset, uint64_t length) {
    WriteInode(Find(path), offset, length);
  }
  void Append(const std::string& path, uint64_t length) {
    const ModelIno ino = Find(path);
    WriteInode(ino, model().Find(ino)->content->size(), length);
  }
  void Truncate(const std::string& path, uint64_t size) {
    AttrChange change;
    change.size = size;
    SetAttr(path, change);
  }
  void SetAttr(const std::string& path, const AttrChange& change) {
    Operation op;
    op.kind = OperationKind::kSetAttr;
    op.ino = Find(path);
    op.change = change;
    Do(op);
  }
  void Fallocate(const std::string& path, int mode, uint64_t offset, uint64_t length) {
    Operation op;
    op.kind = OperationKind::kFallocate;
    op.ino = Find(path);
    op.flags = mode;
    op.offset = offset;
    op.length = length;
    Do(op);
  }
  void Copy(const std::string& from, const std::string& to) {
    Operation op;
    op.kind = OperationKind::kCopyRange;
    op.ino = Find(from);
    op.other = Find(to);
    op.offset = 500;
    op.other_offset = 1500;
    op.length = 4000;
    Do(op);
  }
  void SetXattr(const std::string& path, const std::string& value) {
    Operation op;
    op.kind = OperationKind::kSetXattr;
    op.ino = Find(path);
    op.name = "user.x";
    op.data = value;
    Do(op);
  }
  void RemoveXattr(const std::string& path) {
    Operation op;
    op.kind = OperationKind::kRemoveXattr;
    op.ino = Find(path);
    op.name = "user.x";
    if (!model().Find(op.ino)->xattrs.contains(op.name)) throw Senseless();
    Do(op);
  }

 private:
  const ReferenceModel& model() { return world_.twin(kVolume).model; }

  ModelIno Find(const std::string& path) {
    ModelIno ino = kModelRoot;
    for (size_t at = 0; at < path.size();) {
      const size_t end = std::min(path.find('/', at), path.size());
      const auto& entries = model().Find(ino)->entries;
      const auto found = entries.find(path.substr(at, end - at));
      if (found == entries.end()) throw Senseless();
      ino = found->second;
      at = end + 1;
    }
    return ino;
  }
  ModelIno Parent(const std::string& path) {
    const size_t slash = path.rfind('/');
    const ModelIno ino = slash == path.npos ? kModelRoot : Find(path.substr(0, slash));
    if (!model().Find(ino)->is_dir()) throw Senseless();
    return ino;
  }
  Operation Named(OperationKind kind, const std::string& path) {
    Operation op;
    op.kind = kind;
    op.ino = Parent(path);
    op.name = path.substr(path.rfind('/') + 1);
    return op;
  }
  void SetOther(Operation& op, const std::string& path) {
    op.other = Parent(path);
    op.other_name = path.substr(path.rfind('/') + 1);
  }
  void LinkInode(ModelIno ino, const std::string& to) {
    Operation op;
    op.kind = OperationKind::kLink;
    op.ino = ino;
    SetOther(op, to);
    Do(op);
  }
  void WriteInode(ModelIno ino, uint64_t offset, uint64_t length) {
    Operation op;
    op.kind = OperationKind::kWrite;
    op.ino = ino;
    op.offset = offset;
    op.data = std::string(length, static_cast<char>('a' + written_++ % 26));
    Do(op);
  }
  void Do(const Operation& operation) {
    if (std::string problem = world_.Do(kVolume, operation); !problem.empty())
      throw std::runtime_error(problem);
  }

  PowerWorld& world_;
  int written_ = 0;
};

struct Step {
  const char* name;
  void (*run)(Script&);
};

const Step kSteps[] = {
    {"create", [](Script& s) { s.Create("new", S_IFREG | 0644); }},
    {"create below", [](Script& s) { s.Create("A/new", S_IFREG | 0600); }},
    {"mkdir", [](Script& s) { s.Create("C", S_IFDIR | 0755); }},
    {"mkdir below", [](Script& s) { s.Create("A/C", S_IFDIR | 0700); }},
    {"symlink", [](Script& s) { s.Create("sym", S_IFLNK | 0777, "foo"); }},
    {"link", [](Script& s) { s.Link("foo", "B/linked"); }},
    {"link from below", [](Script& s) { s.Link("A/bar", "bar"); }},
    {"link an unnamed file", [](Script& s) { s.LinkUnnamed("B/unnamed"); }},
    {"unlink", [](Script& s) { s.Unlink("foo"); }},
    {"unlink below", [](Script& s) { s.Unlink("A/bar"); }},
    {"rmdir", [](Script& s) { s.Rmdir("B"); }},
    {"rename", [](Script& s) { s.Rename("foo", "new"); }},
    {"rename over", [](Script& s) { s.Rename("foo", "A/bar"); }},
    {"rename up", [](Script& s) { s.Rename("A/bar", "foo"); }},
    {"rename a directory over", [](Script& s) { s.Rename("A", "B"); }},
    {"rename a directory into", [](Script& s) { s.Rename("B", "A/B"); }},
    {"exchange", [](Script& s) { s.Rename("foo", "A/bar", RENAME_EXCHANGE); }},
    {"overwrite", [](Script& s) { s.Write("foo", 1000, 3000); }},
    {"overwrite all", [](Script& s) { s.Write("A/bar", 0, 9000); }},
    {"write new", [](Script& s) { s.Write("new", 0, 5000); }},
    {"append", [](Script& s) { s.Append("foo", 2000); }},
    {"append below", [](Script& s) { s.Append("A/bar", 700); }},
    {"write across chunks", [](Script& s) { s.Write("foo", 129'000, 5000); }},
    {"truncate to nothing", [](Script& s) { s.Truncate("foo", 0); }},
    {"truncate", [](Script& s) { s.Truncate("foo", 2500); }},
    {"truncate up", [](Script& s) { s.Truncate("foo", 20'000); }},
    {"punch",
     [](Script& s) { s.Fallocate("foo", FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 1000, 4000); }},
    {"zero", [](Script& s) { s.Fallocate("foo", FALLOC_FL_ZERO_RANGE, 3000, 9000); }},
    {"allocate", [](Script& s) { s.Fallocate("foo", 0, 4096, 12'000); }},
    {"allocate beyond", [](Script& s) { s.Fallocate("foo", FALLOC_FL_KEEP_SIZE, 4096, 12'000); }},
    {"copy", [](Script& s) { s.Copy("foo", "A/bar"); }},
    {"set xattr", [](Script& s) { s.SetXattr("foo", "other"); }},
    {"set xattr of a directory", [](Script& s) { s.SetXattr("B", "value"); }},
    {"remove xattr", [](Script& s) { s.RemoveXattr("foo"); }},
    {"chmod and chown",
     [](Script& s) {
       AttrChange change;
       change.mode = 0751;
       change.uid = 33;
       s.SetAttr("foo", change);
     }},
};
constexpr size_t kStepCount = std::size(kSteps);

using Sequence = std::vector<size_t>;  // of kSteps

std::string Describe(const Sequence& sequence) {
  std::string text;
  for (const size_t step : sequence)
    text += (text.empty() ? "" : ", ") + std::string(kSteps[step].name);
  return text;
}

class ShortSequenceTest : public ::testing::TestWithParam<uint64_t> {
 protected:
  static void SetUpTestSuite() { spdlog::set_level(spdlog::level::off); }
  static void TearDownTestSuite() { spdlog::set_level(spdlog::level::info); }

  void SetUp() override {
    ASSERT_EQ(base_.Open(), "");
    ASSERT_EQ(base_.AddVolume(kVolume), "");
    Script script(base_);
    script.Create("A", S_IFDIR | 0755);
    script.Create("B", S_IFDIR | 0755);
    script.Create("foo", S_IFREG | 0644);
    script.Create("A/bar", S_IFREG | 0644);
    script.Write("foo", 0, 6000);
    script.Write("A/bar", 0, 3000);
    script.SetXattr("foo", "value");
    base_.Close();
    base_.Rebase();
  }

  // All sequences up to three steps, in one order; those of this shard that are to be tried.
  std::vector<Sequence> Sequences() {
    std::vector<Sequence> all;
    for (size_t a = 0; a < kStepCount; ++a) {
      all.push_back({a});
      for (size_t b = 0; b < kStepCount; ++b) {
        all.push_back({a, b});
        for (size_t c = 0; c < kStepCount; ++c) {
          if (everything_ || random_.OneIn(kOneOfTriples)) all.push_back({a, b, c});
        }
      }
    }
    std::vector<Sequence> mine;
    for (size_t i = GetParam(); i < all.size(); i += kShards) mine.push_back(all[i]);
    return mine;
  }

  // Returns what is wrong, or an empty string.
  std::string Try(const Sequence& sequence) {
    PowerWorld world(base_);
    std::string problem = world.Open();
    if (!problem.empty()) return problem;
    const size_t begin = world.log().size();
    Script script(world);
    try {
      for (const size_t step : sequence) kSteps[step].run(script);
    } catch (const Senseless&) {
      return {};
    }
    world.Sync(kVolume);
    script.Create("after", S_IFREG | 0644);
    const size_t end = world.log().size();
    world.Close();
    ++sequences_;

    DiskModel disk(world.log());
    std::set<size_t> points = {end};
    const uint64_t count = sequence.size() == 1 ? 2 * kDisksPerSequence : kDisksPerSequence;
    while (!everything_ && points.size() < std::min<size_t>(count, end - begin + 1))
      points.insert(begin + random_.Below(end - begin + 1));
    for (size_t point = begin; everything_ && point <= end; ++point) points.insert(point);
    for (const size_t point : points) {
      disk.AdvanceTo(point);
      const int first = everything_ ? 0 : static_cast<int>(random_.Below(kCrashKinds));
      for (int kind = first; kind < (everything_ ? kCrashKinds : first + 1); ++kind) {
        const auto chosen = static_cast<CrashKind>(kind);
        problem = world.Check(point, disk.Fail(chosen, random_), random_);
        if (!problem.empty())
          return NameOf(chosen) + " of the events " + std::to_string(begin) + " to " +
                 std::to_string(point) + ": " + problem;
      }
    }
    disks_ += world.states();
    return {};
  }

  const bool everything_ = NumberFromEnvironment("REWIND_ALL", 0) != 0;
  const uint64_t seed_ = NumberFromEnvironment("REWIND_SEED", 1);
  Random random_{seed_};
  PowerWorld base_{seed_, PowerProfile{}};
  size_t sequences_ = 0, disks_ = 0;
};

TEST_P(ShortSequenceTest, SurvivesAsFarAsItWasSynced) {
  for (const Sequence& sequence : Sequences())
    ASSERT_EQ(Try(sequence), "") << "seed " << seed_ << ": " << Describe(sequence);
  std::cout << "seed " << seed_ << ": " << sequences_ << " sequences, " << disks_ << " disks"
            << std::endl;
}

INSTANTIATE_TEST_SUITE_P(Shards, ShortSequenceTest, ::testing::Range<uint64_t>(0, kShards));

}  // namespace
}  // namespace rw::testing
