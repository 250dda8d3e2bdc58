#include "metadata/index.h"

#include <errno.h>
#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/listener.h>
#include <rocksdb/slice_transform.h>
#include <rocksdb/table.h>
#include <rocksdb/utilities/table_properties_collectors.h>

#include <atomic>
#include <mutex>
#include <set>

#include "metadata/coding.h"
#include "metadata/index_files.h"
#include "metadata/index_reads.h"
#include "metadata/index_tails.h"

namespace rw {
namespace {

constexpr size_t kBlockCacheBytes = 64 << 20;
constexpr size_t kScanReadaheadBytes = 256 << 10;
// A crash replays at most about this much journal.
constexpr uint64_t kFlushEveryJournalBytes = 512 << 20;

void Check(const rocksdb::Status& status) {
  if (status.ok()) return;
  if (status.IsCorruption()) throw IndexDamaged("index: " + status.ToString());
  throw Refused(status.IsNoSpace() ? ENOSPC : EIO, "index: " + status.ToString());
}

// Tells of damage once.
class DamageWatch {
 public:
  explicit DamageWatch(std::function<void(const std::string&)> tell) : tell_(std::move(tell)) {}

  void Saw(const rocksdb::Status& status) {
    if (status.IsCorruption() && !seen_.exchange(true) && tell_) tell_(status.ToString());
  }
  bool seen() const { return seen_.load(std::memory_order_relaxed); }

 private:
  const std::function<void(const std::string&)> tell_;
  std::atomic<bool> seen_{false};
};

rocksdb::Slice ToSlice(std::string_view view) { return {view.data(), view.size()}; }
std::string_view ToView(const rocksdb::Slice& slice) { return {slice.data(), slice.size()}; }

class Listener : public rocksdb::EventListener {
 public:
  Listener(std::function<void()> before_flush, std::shared_ptr<DamageWatch> watch,
           std::shared_ptr<rocksdb::FileSystem> files)
      : before_flush_(std::move(before_flush)),
        watch_(std::move(watch)),
        files_(std::move(files)) {}
  // Called after the memtables to flush are chosen and before anything of them is written.
  void OnFlushBegin(rocksdb::DB*, const rocksdb::FlushJobInfo&) override {
    if (before_flush_) before_flush_();
  }
  // Called before the list of files has the table.
  void OnTableFileCreated(const rocksdb::TableFileCreationInfo& table) override {
    if (table.status.ok())
      KeepTableTail(files_.get(), table.file_path, table.table_properties.data_size);
  }
  // A compaction that meets damage leaves its input as it was. RocksDB would take no more writes
  // of anybody: one volume's damage would be all volumes'.
  void OnBackgroundError(rocksdb::BackgroundErrorReason reason, rocksdb::Status* error) override {
    watch_->Saw(*error);
    if (reason == rocksdb::BackgroundErrorReason::kCompaction && error->IsCorruption())
      *error = rocksdb::Status::OK();
    // What could not be written is still in memory, and can be tried again: RocksDB would not, but
    // take no more writes until it is opened again.
    if (error->IsIOError() && error->severity() == rocksdb::Status::kFatalError)
      *error = rocksdb::Status(*error, rocksdb::Status::kHardError);
  }
  // Who writes next has it tried again. RocksDB's own attempts, seconds apart, would be in the way.
  void OnErrorRecoveryBegin(rocksdb::BackgroundErrorReason /*reason*/, rocksdb::Status /*error*/,
                            bool* by_itself) override {
    *by_itself = false;
  }

 private:
  std::function<void()> before_flush_;
  std::shared_ptr<DamageWatch> watch_;
  std::shared_ptr<rocksdb::FileSystem> files_;
};

[[noreturn]] void ThrowLost() {
  throw Refused(EIO, "index: what was here was lost to damage earlier; rewind check tells what");
}

class RocksCursor : public Index::Cursor {
 public:
  RocksCursor(rocksdb::DB* db, std::string prefix, Index::Purpose purpose, DamageWatch* watch,
              const LostRanges* lost)
      : upper_(AfterPrefix(std::move(prefix))), upper_slice_(upper_), watch_(watch), lost_(lost) {
    rocksdb::ReadOptions options = IndexReadOptions();
    options.iterate_upper_bound = &upper_slice_;
    if (purpose == Index::Purpose::kScan) {
      options.fill_cache = false;
      options.readahead_size = kScanReadaheadBytes;
    }
    iterator_.reset(db->NewIterator(options));
  }
  void Seek(std::string_view key) override {
    if (!lost_->empty()) from_ = key;
    iterator_->Seek(ToSlice(key));
  }
  void Next() override {
    if (!lost_->empty()) from_ = ToView(iterator_->key());
    iterator_->Next();
  }
  bool Valid() override {
    const bool valid = iterator_->Valid();
    if (!valid) {
      watch_->Saw(iterator_->status());
      Check(iterator_->status());
    }
    // Between where it was and where it is, something may have been that is lost.
    if (!lost_->empty() && lost_->Touch(from_, valid ? ToView(iterator_->key()) : upper_))
      ThrowLost();
    return valid;
  }
  std::string_view key() const override { return ToView(iterator_->key()); }
  std::string_view value() const override { return ToView(iterator_->value()); }

 private:
  std::string upper_;
  rocksdb::Slice upper_slice_;
  std::unique_ptr<rocksdb::Iterator> iterator_;
  DamageWatch* watch_;
  const LostRanges* lost_;
  std::string from_;  // where the last move began
};

class RocksIndex : public Index {
 public:
  RocksIndex(std::unique_ptr<rocksdb::Env> env, std::unique_ptr<rocksdb::DB> db, uint64_t name_seed,
             std::shared_ptr<DamageWatch> watch)
      : env_(std::move(env)), db_(std::move(db)), watch_(std::move(watch)) {
    name_seed_ = name_seed;
    write_options_.disableWAL = true;
    const std::string all(1, static_cast<char>(KeyType::kLost));
    LostRanges lost;
    const auto cursor = NewCursor(all, Purpose::kScan);
    for (cursor->Seek(all); cursor->Valid(); cursor->Next())
      lost.Add(std::string(cursor->key().substr(1)), std::string(cursor->value()));
    lost_ = std::move(lost);
  }

  ~RocksIndex() override {
    rocksdb::FlushOptions options;
    db_->Flush(options)
        .PermitUncheckedError();  // what a failed flush leaves out is replayed from the journals
    db_->Close().PermitUncheckedError();
  }

  void Commit(TimelineId timeline, Instant at, const Mutations& mutations, const Covered& covered,
              uint32_t journal_bytes, const std::optional<Sample>& sample) override {
    rocksdb::WriteBatch batch;
    AddInodes(&batch, timeline, at, mutations);
    AddNames(&batch, timeline, at, mutations);
    for (const ChunkMutation& m : mutations.chunks) {
      Check(batch.Put(WithInstant(ChunkPrefix(timeline, m.ino, m.chunk), at),
                      m.version.Encode(timeline)));
    }
    for (const XattrMutation& m : mutations.xattrs) {
      Check(batch.Put(WithInstant(XattrPrefix(timeline, m.ino, m.name), at),
                      m.value ? "\x01" + *m.value : ""));
    }
    if (mutations.bring_back) AddBroughtBack(&batch, timeline, at, mutations);
    if (mutations.restored) {
      Check(batch.Put(WithInstant(RestoredPrefix(timeline), at), mutations.restored->Encode()));
    }
    for (const CatalogMutation& m : mutations.catalog) {
      Check(m.value ? batch.Put(m.key, *m.value) : batch.Delete(m.key));
    }
    std::string value;
    PutVarint(&value, covered.position.segment);
    PutVarint(&value, covered.position.offset);
    PutVarint(&value, covered.instant.ns);
    PutVarint(&value, covered.totals.bytes);
    PutVarint(&value, covered.totals.inodes);
    PutVarint(&value, covered.last_operation.ns);
    Check(batch.Put(CoveredKey(timeline), value));
    if (sample) {
      Check(batch.Put(WithInstant(SamplePrefix(timeline), at), EncodeSample(*sample)));
    }
    Write(&batch);
    if (unflushed_bytes_.fetch_add(journal_bytes, std::memory_order_relaxed) + journal_bytes >
        kFlushEveryJournalBytes) {
      unflushed_bytes_.store(0, std::memory_order_relaxed);
      rocksdb::FlushOptions options;
      options.wait = false;
      options.allow_write_stall = true;
      db_->Flush(options)
          .PermitUncheckedError();  // the commit is done; RocksDB flushes by itself as well
    }
  }

  std::optional<std::string> Get(std::string_view key) override {
    std::string value;
    const rocksdb::Status status = db_->Get(IndexReadOptions(), ToSlice(key), &value);
    if (status.IsNotFound()) {
      if (!lost_.empty() && lost_.Touch(key, std::string(key) + '\0')) ThrowLost();
      return std::nullopt;
    }
    watch_->Saw(status);
    Check(status);
    return value;
  }

  std::optional<Version> FindVersion(std::string prefix, Instant at) override {
    const size_t prefix_bytes = prefix.size();
    RocksCursor cursor(db_.get(), prefix, Purpose::kLookup, watch_.get(), &lost_);
    AppendInstant(&prefix, at);
    cursor.Seek(prefix);
    if (!cursor.Valid() || cursor.key().size() != prefix_bytes + kInstantBytes) return std::nullopt;
    return Version{InstantOf(cursor.key()), std::string(cursor.value())};
  }

  std::unique_ptr<Cursor> NewCursor(std::string prefix, Purpose purpose) override {
    return std::make_unique<RocksCursor>(db_.get(), std::move(prefix), purpose, watch_.get(),
                                         &lost_);
  }

  Ino LastIno(TimelineId timeline) override {
    const std::string prefix = TypePrefix(KeyType::kInode, timeline);
    const std::unique_ptr<rocksdb::Iterator> iterator(db_->NewIterator(IndexReadOptions()));
    const std::string after = AfterPrefix(prefix);
    iterator->SeekForPrev(after);
    watch_->Saw(iterator->status());
    Check(iterator->status());
    const bool found = iterator->Valid() && ToView(iterator->key()).starts_with(prefix);
    if (!lost_.empty() && lost_.Touch(found ? ToView(iterator->key()) : prefix, after)) ThrowLost();
    if (!found) return 0;
    return GetBigEndian<uint64_t>(iterator->key().data() + prefix.size());
  }

  void Rewrite(const Entries& entries) override {
    rocksdb::WriteBatch batch;
    for (const auto& [key, value] : entries)
      Check(value ? batch.Put(key, *value) : batch.Delete(key));
    Write(&batch);
  }

  // Key by key, not as ranges: RocksDB before 8.6 may skip a damaged block without a word where it
  // goes on behind a range that was deleted, and before 9.4 frees a range twice where a table
  // cannot be opened. Inodes last: LastIno tells whether anything is left.
  void DropTimeline(TimelineId timeline) override {
    for (const KeyType type :
         {KeyType::kName, KeyType::kChunk, KeyType::kXattr, KeyType::kHeadName, KeyType::kHeadDir,
          KeyType::kOrphan, KeyType::kSample, KeyType::kCovered, KeyType::kSettled, KeyType::kHeld,
          KeyType::kBroughtBack, KeyType::kRestored, KeyType::kInode}) {
      DropPrefix(TypePrefix(type, timeline));
    }
  }

  void Flush() override {
    rocksdb::Status status = db_->Flush(rocksdb::FlushOptions());
    if (!status.ok() && Resume()) status = db_->Flush(rocksdb::FlushOptions());
    Check(status);
  }

  uint64_t LastSequence() override { return db_->GetLatestSequenceNumber(); }

  void MarkLost(const std::string& from, const std::string& to) override {
    Rewrite({{std::string(1, static_cast<char>(KeyType::kLost)) + from, to}});
    lost_.Add(from, to);
  }
  const LostRanges& lost() const override { return lost_; }

 private:
  void DropPrefix(const std::string& prefix) {
    constexpr uint32_t kDroppedAtOnce = 4096;
    rocksdb::WriteBatch batch;
    const std::string end = AfterPrefix(prefix);
    const rocksdb::Slice end_slice(end);
    rocksdb::ReadOptions options = IndexReadOptions();
    options.iterate_upper_bound = &end_slice;
    options.fill_cache = false;
    const std::unique_ptr<rocksdb::Iterator> iterator(db_->NewIterator(options));
    for (iterator->Seek(prefix); iterator->Valid(); iterator->Next()) {
      Check(batch.Delete(iterator->key()));
      if (batch.Count() < kDroppedAtOnce) continue;
      Write(&batch);
      batch.Clear();
    }
    watch_->Saw(iterator->status());
    Check(iterator->status());
    if (batch.Count() > 0) Write(&batch);
  }

  void Write(rocksdb::WriteBatch* batch) {
    if (watch_->seen() && !compaction_stopped_.exchange(true)) {
      // It would meet the same damage again and again.
      db_->SetOptions({{"disable_auto_compactions", "true"}}).PermitUncheckedError();
    }
    rocksdb::Status status = db_->Write(write_options_, batch);
    if (!status.ok() && Resume()) status = db_->Write(write_options_, batch);
    Check(status);
  }

  // After a flush or compaction failed, on a full disk say, RocksDB takes no writes until it is
  // told to try again. That gives up at once if something fails that was under way when it began,
  // though it has just had a flush scheduled; that flush finds that nobody recovers, does nothing,
  // and counts as requested ever after: the next attempt would wait for it forever. So what is
  // under way has to end first.
  bool Resume() {
    const std::lock_guard lock(resume_mutex_);
    Check(db_->PauseBackgroundWork());
    Check(db_->ContinueBackgroundWork());
    return db_->Resume().ok();
  }

  static void AddInodes(rocksdb::WriteBatch* batch, TimelineId timeline, Instant at,
                        const Mutations& mutations) {
    for (const InodeMutation& m : mutations.inodes) {
      Check(batch->Put(WithInstant(InodePrefix(timeline, m.ino), at),
                       m.inode ? m.inode->Encode(at) : ""));
      if (!m.inode) {
        Check(batch->Delete(OrphanKey(timeline, m.ino)));
      } else if (m.inode->nlink == 0) {
        Check(batch->Put(OrphanKey(timeline, m.ino), ""));
      }
    }
    for (const Ino ino : mutations.adopted) Check(batch->Delete(OrphanKey(timeline, ino)));
  }

  static void AddBroughtBack(rocksdb::WriteBatch* batch, TimelineId timeline, Instant at,
                             const Mutations& mutations) {
    std::set<std::pair<TimelineId, uint32_t>> segments;
    for (const ChunkMutation& m : mutations.chunks) {
      for (const Extent& extent : m.version.extents) {
        if (!extent.hole()) segments.insert({extent.timeline, extent.segment});
      }
    }
    for (const auto& [of, segment] : segments)
      Check(batch->Put(BroughtBackKey({timeline, of, segment, at}), ""));
  }

  void AddNames(rocksdb::WriteBatch* batch, TimelineId timeline, Instant at,
                const Mutations& mutations) const {
    for (const NameMutation& m : mutations.names) {
      const uint64_t cookie = NameCookie(name_seed_, m.name);
      const std::string value = EncodeNameValue({m.ino, m.type});
      Check(batch->Put(WithInstant(NamePrefix(timeline, m.parent, cookie, m.name), at), value));
      const std::string head_key = HeadNameKey(timeline, m.parent, cookie, m.name);
      Check(m.ino != 0 ? batch->Put(head_key, value) : batch->Delete(head_key));
    }
  }

  std::unique_ptr<rocksdb::Env> env_;
  std::unique_ptr<rocksdb::DB> db_;
  std::shared_ptr<DamageWatch> watch_;
  std::atomic<bool> compaction_stopped_{false};
  LostRanges lost_;
  rocksdb::WriteOptions write_options_;
  std::atomic<uint64_t> unflushed_bytes_{0};
  std::mutex resume_mutex_;  // one at a time
};

// What a memtable remembers the last place by, so that the next key is looked for there first. The
// newest version of an inode goes right before the last one, how far the journal is covered always
// to the same place, and what a sequential write puts right behind the last.
class KindAndTimeline : public rocksdb::SliceTransform {
 public:
  static constexpr size_t kBytes = 1 + sizeof(TimelineId);
  const char* Name() const override { return "rewind.KindAndTimeline"; }
  bool InDomain(const rocksdb::Slice& key) const override { return key.size() >= kBytes; }
  rocksdb::Slice Transform(const rocksdb::Slice& key) const override {
    return {key.data(), kBytes};
  }
};

rocksdb::Options RocksOptions(const Index::Options& options,
                              const std::shared_ptr<DamageWatch>& watch,
                              const std::shared_ptr<rocksdb::FileSystem>& files) {
  rocksdb::Options rocks;
  rocks.create_if_missing = true;
  rocks.write_buffer_size = options.tuning.memtable_bytes;
  rocks.max_write_buffer_number = 4;
  rocks.memtable_insert_with_hint_prefix_extractor = std::make_shared<KindAndTimeline>();
  rocks.max_background_jobs = 2;
  rocks.compression = rocksdb::kLZ4Compression;
  rocks.level_compaction_dynamic_level_bytes = true;
  rocks.max_open_files = 512;
  rocks.info_log_level = rocksdb::WARN_LEVEL;
  rocks.keep_log_file_num = 2;
  rocks.max_log_file_size = 1 << 20;
  rocks.stats_dump_period_sec = 0;
  rocks.stats_persist_period_sec = 0;
  rocks.listeners.push_back(std::make_shared<Listener>(options.before_flush, watch, files));
  // Directories that are filled and emptied leave runs of deleted keys; compact those soon, readdir
  // walks them.
  rocks.table_properties_collector_factories.push_back(
      rocksdb::NewCompactOnDeletionCollectorFactory(16384, 8192));
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = rocksdb::NewLRUCache(kBlockCacheBytes);
  table.cache_index_and_filter_blocks = true;
  table.pin_l0_filter_and_index_blocks_in_cache = true;
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  // In small parts: the filter of a large file as one block is more than a shard of the cache
  // holds, and would be read as a whole for each name that is looked for.
  table.index_type = rocksdb::BlockBasedTableOptions::kTwoLevelIndexSearch;
  table.partition_filters = true;
  table.format_version = 5;
  rocks.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return rocks;
}

}  // namespace

std::unique_ptr<Index> Index::Open(const Options& options) {
  const auto watch = std::make_shared<DamageWatch>(options.on_damage);
  const auto files = MakeIndexFiles(
      options.tuning.files != nullptr ? options.tuning.files : rocksdb::FileSystem::Default());
  rocksdb::Options rocks = RocksOptions(options, watch, files);
  std::unique_ptr<rocksdb::Env> env = rocksdb::NewCompositeEnv(files);
  rocks.env = env.get();
  const auto cut = CutTornManifest(files.get(), options.path.string());
  if (cut && options.repaired) options.repaired(*cut);
  rocksdb::DB* db = nullptr;
  const rocksdb::Status status = rocksdb::DB::Open(rocks, options.path.string(), &db);
  if (status.IsPathNotFound()) throw IndexDamaged("index: " + status.ToString());
  Check(status);
  KeepMissingTails(files.get(), db);
  return std::make_unique<RocksIndex>(std::move(env), std::unique_ptr<rocksdb::DB>(db),
                                      options.name_seed, watch);
}

std::optional<Covered> Index::FindCovered(TimelineId timeline) {
  const auto value = Get(CoveredKey(timeline));
  if (!value) return std::nullopt;
  Decoder in(*value);
  Covered covered;
  covered.position.segment = in.Number<uint32_t>();
  covered.position.offset = in.Number<uint32_t>();
  covered.instant.ns = in.Varint();
  covered.totals.bytes = in.Varint();
  covered.totals.inodes = in.Varint();
  // Absent in what was written before data could be moved.
  covered.last_operation = in.empty() ? covered.instant : Instant{in.Varint()};
  in.ExpectEnd();
  return covered;
}

uint32_t Index::FindSettled(TimelineId timeline) {
  const auto value = Get(SettledKey(timeline));
  if (!value) return 0;
  Decoder in(*value);
  const auto segment = in.Number<uint32_t>();
  in.ExpectEnd();
  return segment;
}

void Index::SetSettled(TimelineId timeline, uint32_t segment) {
  std::string value;
  PutVarint(&value, segment);
  Rewrite({{SettledKey(timeline), value}});
}

std::vector<Index::Held> Index::ListHeld() {
  std::vector<Held> held;
  const std::string all(1, static_cast<char>(KeyType::kHeld));
  const auto cursor = NewCursor(all, Purpose::kScan);
  for (cursor->Seek(all); cursor->Valid(); cursor->Next()) {
    const auto [timeline, segment] = SplitSegmentKey(cursor->key());
    const std::string_view value = cursor->value();
    if (value.size() != sizeof(uint64_t))
      throw Refused(EIO, "index: an entry of a held segment has a wrong size");
    held.push_back({timeline, segment, Instant{GetFixed<uint64_t>(value.data())}});
  }
  return held;
}

std::vector<std::pair<Instant, RestoreNote>> Index::ListRestores(TimelineId timeline, Instant after,
                                                                 Instant until, size_t limit) {
  std::vector<std::pair<Instant, RestoreNote>> list;
  const std::string prefix = RestoredPrefix(timeline);
  const auto cursor = NewCursor(prefix);
  for (cursor->Seek(WithInstant(prefix, until)); cursor->Valid() && list.size() < limit;
       cursor->Next()) {
    const Instant at = InstantOf(cursor->key());
    if (at <= after) break;
    list.emplace_back(at, RestoreNote::Decode(cursor->value()));
  }
  return list;
}

std::string EncodeHeldUntil(Instant until) {
  std::string value;
  PutFixed<uint64_t>(&value, until.ns);
  return value;
}

std::optional<Sample> Index::FindSample(TimelineId timeline, Instant at) {
  const auto version = FindVersion(SamplePrefix(timeline), at);
  if (!version) return std::nullopt;
  return DecodeSample(version->value, version->at);
}

Sample DecodeSample(std::string_view value, Instant at) {
  Decoder in(value);
  Sample sample;
  sample.position.segment = in.Number<uint32_t>();
  sample.position.offset = in.Number<uint32_t>();
  sample.totals.bytes = in.Varint();
  sample.totals.inodes = in.Varint();
  in.ExpectEnd();
  sample.at = at;
  return sample;
}

std::string EncodeSample(const Sample& sample) {
  std::string value;
  PutVarint(&value, sample.position.segment);
  PutVarint(&value, sample.position.offset);
  PutVarint(&value, sample.totals.bytes);
  PutVarint(&value, sample.totals.inodes);
  return value;
}

std::string EncodeNameValue(const NameValue& value) {
  std::string out;
  if (value.ino == 0) return out;
  PutVarint(&out, value.ino);
  PutVarint(&out, value.type);
  return out;
}

NameValue DecodeNameValue(std::string_view bytes) {
  NameValue value;
  if (bytes.empty()) return value;
  Decoder in(bytes);
  value.ino = in.Varint();
  value.type = in.Number<uint32_t>();
  in.ExpectEnd();
  if (value.ino == 0) Decoder::Fail();
  return value;
}

}  // namespace rw
