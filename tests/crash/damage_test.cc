// Goal: whatever the disk does to any one file under the data root, nobody is told what is not so:
// each answer is right, or it is EIO, and what has nothing to do with the damage stays readable.
//
// Method: a store with history (volumes, a clone, a snapshot volume, a rollback, marks, xattrs,
// unlinked files), closed, or as a crash leaves it; of its files one gets a flipped bit, zeros or
// an earlier end, drawn by seed. The store is opened, everything is read at the head and at
// remembered instants and compared with the model; then something is written, the store is opened
// once more, and everything is compared again. REWIND_OPS: how many times; REWIND_SEED: the first
// seed.
#include "tests/support/damage.h"

#include <errno.h>
#include <gtest/gtest.h>
#include <rocksdb/db.h>
#include <rocksdb/table.h>
#include <spdlog/sinks/ringbuffer_sink.h>
#include <spdlog/spdlog.h>

#include <fstream>

#include "fs/store.h"
#include "metadata/refused.h"
#include "metadata/time_text.h"
#include "tests/support/random_operations.h"
#include "tests/support/system_clock.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tolerant_reader.h"

namespace rw::testing {
namespace {

namespace stdfs = std::filesystem;

// One volume with its model and the instants that are looked at.
struct Member {
  Twin twin;
  std::string family;  // members of one share timelines
  bool snapshot = false;
  std::vector<Instant> instants;
};

class DamageTest : public ::testing::TestWithParam<bool> {
 protected:
  static StoreOptions Options(const stdfs::path& root) {
    StoreOptions options(root, SystemNanoseconds);
    options.max_segment_bytes = 256 << 10;
    options.collector.background = false;
    options.collector.reserve_bytes = 0;
    return options;
  }
  stdfs::path base() const { return dir_.path() / "base"; }
  stdfs::path root() const { return dir_.path() / "root"; }

  // --- the sound store ---

  void Make(Store& store, const std::string& name, const std::string& family, SourceKind kind,
            const std::string& source = {}, std::optional<Instant> at = {}) {
    CreateRequest request;
    request.name = name;
    request.source_kind = kind;
    request.source = source;
    request.at = at;
    store.Create(request);
    const auto record = store.Find(name);
    if (kind == SourceKind::kNone) {
      const auto root_inode = store.OpenVolume(name)->FindInode(kRootIno);
      members_.push_back({Twin{name,
                               nullptr,
                               ReferenceModel(record->created, *root_inode),
                               {{kModelRoot, kRootIno}},
                               true},
                          family,
                          false,
                          {}});
    } else {
      const Twin& from = Find(source).twin;
      const Instant shown = record->fixed_at.value_or(record->source_at.value_or(Instant{}));
      Twin copy{name, nullptr, ReferenceModel::CloneOf(from.model, shown, record->created),
                from.inos, false};
      members_.push_back({std::move(copy), family, !record->writable(), {}});
    }
  }
  Member& Find(const std::string& name) {
    for (Member& member : members_)
      if (member.twin.name == name) return member;
    throw std::logic_error("no such member");
  }
  void Work(Store& store, const std::string& name, int operations, uint64_t seed) {
    Twin& twin = Find(name).twin;
    twin.volume = store.OpenVolume(name);
    RandomOperations random(seed, {.max_write = 40'000, .max_xattr = 300, .max_inodes = 40});
    for (int i = 0; i < operations; ++i) ASSERT_EQ(twin.Step(random.Next(twin.model)), "");
    twin.volume.reset();
  }
  void BuildBase(uint64_t seed) {
    Random random(seed);
    for (int round = 0; round < 3; ++round) {
      auto store = Store::Open(Options(base()));
      if (round == 0) {
        Make(*store, "a", "a", SourceKind::kNone);
        Make(*store, "b", "b", SourceKind::kNone);
      }
      Work(*store, "a", 150, seed * 10 + round);
      Work(*store, "b", 100, seed * 20 + round);
      if (round == 1) {
        const Instant middle = random.PickFrom(Find("a").twin.model.instants());
        Make(*store, "a-clone", "a", SourceKind::kCloneOf, "a", middle);
        Make(*store, "a-snap", "a", SourceKind::kSnapshotOf, "a",
             random.PickFrom(Find("a").twin.model.instants()));
        store->SetMark({"a", "b"}, "mark", "", {});
        CreateRequest rollback;
        rollback.name = "b-before";
        rollback.source_kind = SourceKind::kRollback;
        rollback.source = "b";
        rollback.at = random.PickFrom(Find("b").twin.model.instants());
        store->Create(rollback);
        Find("b").twin.model.RollBack(*rollback.at, store->Find("b")->bindings.back().since);
      }
      if (round >= 1) Work(*store, "a-clone", 60, seed * 30 + round);
      if (round == 2 && GetParam()) Collect(*store);
      NoteTimelines(*store);
    }
    for (Member& member : members_) {
      const Instant first = collected_until_;
      for (int i = 0; i < 40 && member.instants.size() < 4; ++i) {
        const Instant at = random.PickFrom(member.twin.model.instants());
        if (at >= first) member.instants.push_back(at);
      }
    }
    std::ofstream(base() / "ballast") << "none";  // so that none is made each time
  }
  // Nothing is kept but what there is now and what pins keep.
  void Collect(Store& store) {
    for (const char* name : {"a", "b", "a-clone"})
      store.Set(name, {{"retention", "0"}, {"keep", "none"}});
    store.Collect();
    store.Collect();
    for (const char* name : {"a", "b", "a-clone"}) {
      Work(store, name, 20, 77);
      collected_until_ = std::max(collected_until_, store.Find(name)->horizon);
    }
    for (const char* name : {"a", "b", "a-clone"})
      store.Set(name, {{"retention", ""}, {"keep", ""}});
  }
  // Which family's data each directory of the journal holds.
  void NoteTimelines(Store& store) {
    for (const VolumeRecord& record : store.List())
      for (const Binding& binding : record.bindings)
        families_[std::to_string(binding.timeline)] = record.name.substr(0, 1);
  }

  // --- the damaged one ---

  struct Outcome {
    TolerantResult read;
    size_t refused = 0;  // volumes, or the store as a whole
    std::set<std::string> hurt_families;
  };
  void Refuse(const Refused& refused, const std::string& family, Outcome* outcome) {
    ++outcome->refused;
    ++outcome->read.errors;
    outcome->hurt_families.insert(family);
    const std::string line = refused.what();
    outcome->read.lines.insert(line);
    if (outcome->read.lie.empty() && (refused.error() != EIO || line.find('\n') != line.npos))
      outcome->read.lie = "refused otherwise: " + line;
  }
  Outcome ReadAll(Store& store) {
    Outcome outcome;
    const auto read = [&](const Member& member, Instant at, const auto& open) {
      try {
        const TolerantResult result = ReadTolerantly(*open(), member.twin, at);
        if (result.errors > 0) outcome.hurt_families.insert(member.family);
        outcome.read.Add(result);
      } catch (const Refused& refused) {
        Refuse(refused, member.family, &outcome);
      }
    };
    for (const Member& member : members_) {
      const std::string& name = member.twin.name;
      read(member, kInstantMax, [&] { return store.OpenVolume(name); });
      if (member.snapshot) continue;
      for (const Instant at : member.instants)
        read(member, at, [&] { return store.OpenAt(name, at); });
    }
    return outcome;
  }
  // A new file in each volume; what cannot be written is hurt. Later it is there or nothing is.
  void WriteSomething(Store& store, Outcome* outcome) {
    for (Member& member : members_) {
      if (member.snapshot) continue;
      Twin& twin = member.twin;
      const ReferenceModel before = twin.model;
      try {
        twin.volume = store.OpenVolume(twin.name);
        Operation create;
        create.kind = OperationKind::kCreate;
        create.ino = kModelRoot;
        create.name = "new";
        create.mode = S_IFREG | 0644;
        if (const std::string problem = twin.Step(create); !problem.empty()) {
          twin.model = before;
          outcome->hurt_families.insert(member.family);
          ++outcome->read.errors;
        } else {
          twin.volume->Sync();
        }
      } catch (const Refused& refused) {
        Refuse(refused, member.family, outcome);
      }
      twin.volume.reset();
    }
  }

  // The base's index becomes many small tables, whose names are returned.
  std::vector<std::string> CompactIndex() {
    rocksdb::Options options;
    options.target_file_size_base = 2 << 10;
    options.compression = rocksdb::kNoCompression;
    rocksdb::BlockBasedTableOptions table;
    table.block_size = 512;
    options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
    rocksdb::DB* opened = nullptr;
    EXPECT_TRUE(rocksdb::DB::Open(options, (base() / "index").string(), &opened).ok());
    const std::unique_ptr<rocksdb::DB> db(opened);
    rocksdb::CompactRangeOptions all;
    all.bottommost_level_compaction = rocksdb::BottommostLevelCompaction::kForce;
    EXPECT_TRUE(db->CompactRange(all, nullptr, nullptr).ok());
    std::vector<rocksdb::LiveFileMetaData> files;
    db->GetLiveFilesMetaData(&files);
    std::vector<std::string> names;
    for (const auto& file : files) {
      EXPECT_GT(file.level, 0);
      names.push_back(file.name.substr(1));  // without the slash
    }
    return names;
  }

  static void Overwrite(const stdfs::path& path, uint64_t at, const std::string& bytes) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(at));
    file << bytes;
  }

  TempDir dir_;
  std::vector<Member> members_;
  std::map<std::string, std::string> families_;  // by directory below journal/
  Instant collected_until_;
};

TEST_P(DamageTest, ACheckOfASoundStoreFindsNothing) {
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    members_.clear();
    stdfs::remove_all(base());
    ASSERT_NO_FATAL_FAILURE(BuildBase(seed));
    auto store = Store::Open(Options(base()));
    const auto open = store->OpenVolume("a");
    for (const char* name : {"", "a", "b", "a-clone", "a-snap", "b-before"}) {
      CheckOptions options;
      options.volume = name;
      const CheckReport report = store->Check(options);
      EXPECT_TRUE(report.sound() && report.complete);
      for (const Hurt& hurt : report.hurts)
        ADD_FAILURE() << HurtKindName(hurt.kind) << " " << hurt.path << " " << hurt.what;
      EXPECT_GT(report.records * report.extents * report.names * report.inodes, 0U);
      if (name != std::string("a")) continue;
      for (const Instant at : Find("a").instants) {
        options.at = at;
        EXPECT_TRUE(store->Check(options).sound()) << at.ns;
      }
    }
  }
}

TEST_P(DamageTest, NobodyIsToldWhatIsNotSo) {
  const uint64_t first = NumberFromEnvironment("REWIND_SEED", 1);
  const uint64_t count = NumberFromEnvironment("REWIND_OPS", 80);
  const bool verbose = std::getenv("REWIND_VERBOSE") != nullptr;
  spdlog::set_level(verbose ? spdlog::level::info : spdlog::level::off);
  ASSERT_NO_FATAL_FAILURE(BuildBase(first));
  const std::vector<Member> sound = members_;
  std::map<std::string, size_t> tally;
  for (uint64_t seed = first; seed < first + count; ++seed) {
    members_ = sound;
    stdfs::remove_all(root());
    stdfs::copy(base(), root(), stdfs::copy_options::recursive);
    if (seed % 2 == 0) stdfs::remove(root() / "clock");  // as if it had not been closed in order
    Random random(seed);
    Damage damage = DrawDamage(random, root());
    while (!damage.Do(root())) damage = DrawDamage(random, root());
    SCOPED_TRACE("seed " + std::to_string(seed) + ": " + damage.Describe());
    if (verbose) std::cout << "seed " << seed << ": " << damage.Describe() << std::endl;
    std::string result = "unnoticed";
    for (const bool again : {false, true}) {
      Outcome outcome;
      try {
        auto store = Store::Open(Options(root()));
        ASSERT_EQ(store->List().size(), sound.size() + 1) << "volumes are missing";
        outcome = ReadAll(*store);
        const CheckReport report = store->Check({});
        if (outcome.read.errors > 0) {
          EXPECT_FALSE(report.sound()) << "a check finds nothing";
        }
        if (verbose)
          for (const Hurt& hurt : report.hurts)
            std::cout << "  check: " << HurtKindName(hurt.kind) << " " << hurt.path << " "
                      << hurt.what << std::endl;
        if (!again) WriteSomething(*store, &outcome);
      } catch (const Refused& refused) {
        Refuse(refused, "all", &outcome);
        result = "store refused";
      }
      EXPECT_EQ(outcome.read.lie, "");
      EXPECT_NE(result, "store refused");
      // The next start makes an index again, and journals of which nothing was collected say all.
      if (again && !GetParam() && !damage.file.string().starts_with("journal/")) {
        EXPECT_EQ(outcome.read.errors, 0U) << *outcome.read.lines.begin();
      }
      if (outcome.read.errors > 0 && result == "unnoticed") result = "errors";
      if (verbose)
        for (const std::string& line : outcome.read.lines)
          std::cout << (again ? "  again: " : "  ") << line << std::endl;
      const std::string directory = damage.file.parent_path().filename();
      if (damage.file.string().starts_with("journal/") && families_.contains(directory)) {
        outcome.hurt_families.erase(families_[directory]);
        EXPECT_EQ(outcome.hurt_families, std::set<std::string>{}) << "others were hurt";
      }
    }
    ++tally[KindOfFile(damage.file) + ": " + result];
  }
  spdlog::set_level(spdlog::level::info);
  std::cout << "seeds " << first << " to " << first + count - 1 << std::endl;
  for (const auto& [what, times] : tally) std::cout << "  " << what << " " << times << std::endl;
}

// Goal: whoever lacks a table of the index does not take what was in it for what was never there.
// Method: an index of many small tables in one level, as most of a large one is; each of them in
// turn is missing, cut off, or another one of the same size, if there is one. (Of another size,
// what RocksDB takes for a footer may be none, and ends the process by an assertion.)
TEST_P(DamageTest, ATableThatCannotBeOpenedIsMissed) {
  spdlog::set_level(spdlog::level::off);
  ASSERT_NO_FATAL_FAILURE(BuildBase(1));
  const std::vector<Member> sound = members_;
  const std::vector<std::string> tables = CompactIndex();
  ASSERT_GT(tables.size(), 8U);
  uint64_t answers = 0, errors = 0;
  for (size_t i = 0; i < tables.size(); ++i) {
    for (const char* how : {"missing", "cut off", "another"}) {
      SCOPED_TRACE(tables[i] + " " + how);
      members_ = sound;
      stdfs::remove_all(root());
      stdfs::copy(base(), root(), stdfs::copy_options::recursive);
      const stdfs::path table = root() / "index" / tables[i];
      if (how == std::string("another")) {
        const stdfs::path other = base() / "index" / tables[(i + 1) % tables.size()];
        if (stdfs::file_size(other) != stdfs::file_size(table)) continue;
        stdfs::copy_file(other, table, stdfs::copy_options::overwrite_existing);
      } else if (how == std::string("missing")) {
        stdfs::remove(table);
      } else {
        stdfs::resize_file(table, stdfs::file_size(table) / 2);
      }
      for (const bool again : {false, true}) {
        auto store = Store::Open(Options(root()));
        Outcome outcome = ReadAll(*store);
        EXPECT_EQ(outcome.read.lie, "");
        if (!GetParam() && again) {
          EXPECT_EQ(outcome.read.errors, 0U) << *outcome.read.lines.begin();
        } else if (outcome.read.errors > 0) {
          EXPECT_FALSE(store->Check({}).sound());
        }
        answers += outcome.read.answers;
        errors += outcome.read.errors;
        if (!again) WriteSomething(*store, &outcome);
      }
    }
  }
  spdlog::set_level(spdlog::level::info);
  std::cout << tables.size() << " tables, " << answers << " right answers, " << errors << " errors"
            << std::endl;
  EXPECT_GT(answers + errors, 0U);
}

// Goal: damage to what finds a table's data costs nothing, and a table that is gone costs what was
// in it and no volume. Method: as above, but the store was opened once since its tables were made,
// so that it has a copy of each one's tail.
TEST_P(DamageTest, ATableIsMendedFromTheCopyOfItsTail) {
  spdlog::set_level(spdlog::level::off);
  ASSERT_NO_FATAL_FAILURE(BuildBase(1));
  const std::vector<Member> sound = members_;
  const std::vector<std::string> tables = CompactIndex();
  ASSERT_GT(tables.size(), 8U);
  Store::Open(Options(base()));
  std::map<std::string, size_t> answers, errors, refused;
  for (const std::string& name : tables) {
    const stdfs::path table = root() / "index" / name;
    const stdfs::path tail = base() / "index/tails" / table.stem();
    ASSERT_TRUE(stdfs::exists(tail)) << name;
    const uint64_t size = stdfs::file_size(base() / "index" / name);
    const uint64_t data = size - (stdfs::file_size(tail) - 32);  // its header
    const std::map<std::string, std::function<void()>> damages = {
        {"footer", [&] { Overwrite(table, size - 60, std::string(60, '\0')); }},
        {"tail", [&] { Overwrite(table, data, std::string(size - data, '\0')); }},
        {"cut", [&] { stdfs::resize_file(table, data); }},
        {"first", [&] { Overwrite(table, 0, std::string(std::min<uint64_t>(data, 100), '\0')); }},
        {"data", [&] { Overwrite(table, 0, std::string(data, '\0')); }},
        {"half", [&] { stdfs::resize_file(table, data / 2); }},
        {"gone", [&] { stdfs::remove(table); }},
    };
    for (const auto& [how, damage] : damages) {
      SCOPED_TRACE(name + " " + how);
      members_ = sound;
      stdfs::remove_all(root());
      stdfs::copy(base(), root(), stdfs::copy_options::recursive);
      damage();
      for (const bool again : {false, true}) {
        const auto store = Store::Open(Options(root()));
        Outcome outcome = ReadAll(*store);
        EXPECT_EQ(outcome.read.lie, "");
        answers[how] += outcome.read.answers;
        errors[how] += outcome.read.errors;
        refused[how] += outcome.refused;
        if (again && (how == "footer" || how == "tail" || how == "cut" || !GetParam())) {
          EXPECT_EQ(outcome.read.errors, 0U) << *outcome.read.lines.begin();
        }
        if (!again) WriteSomething(*store, &outcome);
      }
    }
  }
  spdlog::set_level(spdlog::level::info);
  for (const auto& [how, right] : answers)
    std::cout << how << ": " << right << " right answers, " << errors[how] << " errors, "
              << refused[how] << " refusals" << std::endl;
}

INSTANTIATE_TEST_SUITE_P(WithoutAndWithCollection, DamageTest, ::testing::Bool());

}  // namespace
}  // namespace rw::testing
