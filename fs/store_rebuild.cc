// An index that is damaged or lost is made again: from the journals, which say everything as long
// as nothing of them was collected, and from what can still be read of the old one, which is set
// aside. What neither has is known as lost, and its readers get EIO.
#include <errno.h>
#include <spdlog/spdlog.h>

#include <fstream>

#include "fs/store_impl.h"
#include "metadata/index_salvage.h"
#include "metadata/index_tails.h"
#include "metadata/refused.h"

namespace rw {
namespace {

namespace stdfs = std::filesystem;

constexpr const char* kIndex = "index";
constexpr const char* kNewIndex = "index.new";
constexpr const char* kScratch = "index.salvage";
// Says that the index has to be made again, and why.
constexpr const char* kDamageMark = "index-damaged";
// In a new index that has everything.
constexpr const char* kComplete = "complete";
constexpr size_t kDerivedAtOnce = 512;
constexpr uint64_t kMiB = 1 << 20;

constexpr KeyType kTimelineKeys[] = {KeyType::kInode,    KeyType::kName,   KeyType::kChunk,
                                     KeyType::kXattr,    KeyType::kSample, KeyType::kCovered,
                                     KeyType::kEmptying, KeyType::kHeld,   KeyType::kBroughtBack,
                                     KeyType::kRestored};

bool Exists(const stdfs::path& path) {
  std::error_code ignored;
  return stdfs::exists(path, ignored);
}

void Touch(const stdfs::path& path, const std::string& text) {
  FileLayer* files = FileLayer::Posix();
  const auto file = files->Open(path, FileLayer::Mode::kCreate);
  const iovec part{const_cast<char*>(text.data()), text.size()};
  file->WriteAt({&part, 1}, 0);
  file->SyncData();
  files->SyncDirectory(path.parent_path());
}

// A store without an index and a catalog is new; journals in it would be taken for what is left of
// volumes that were never made, and removed.
void NeedNoVolumes(FileLayer* files, const stdfs::path& journals) {
  const std::string control = std::to_string(kControlTimeline);
  if (CatalogCopy::Find(files, journals.parent_path())) return;
  for (const std::string& name : files->List(journals)) {
    if (name == control || ListSegments(files, journals / name).empty()) continue;
    throw Refused(EIO, "the catalog is lost: neither its journal, " +
                           (journals / control).string() +
                           ", nor its copy or an index is there, but journals of volumes are; "
                           "nothing was changed");
  }
}

// Names of a head are kept apart from those with history: if some of these are lost, so are they.
std::pair<std::string, std::string> LostHeadNames(std::string from, std::string to) {
  constexpr size_t kTimelineEnd = 1 + 4;
  constexpr size_t kCookieEnd = kTimelineEnd + 8 + 8;
  for (std::string* key : {&from, &to}) {
    key->resize(std::min(key->size(), kCookieEnd));
    if (key->front() == static_cast<char>(KeyType::kName))
      key->front() = static_cast<char>(KeyType::kHeadName);
  }
  // Where all that follows is lost, it ends with the timeline: the next one's are not concerned.
  return {from, to.size() > kTimelineEnd ? AfterPrefix(to) : to};
}

}  // namespace

std::unique_ptr<Index> StoreImpl::OpenIndexIn(const stdfs::path& directory) {
  auto index = Index::Open({directory, name_seed_, [this] { SyncBeforeFlush(); },
                            [this](const std::string& what) { SawDamage(what); }, index_tuning_,
                            [](const std::string& what) { spdlog::warn(what); }});
  context_.index = index.get();
  return index;
}

void StoreImpl::SawDamage(const std::string& what) {
  index_damaged_ = true;
  spdlog::error(
      "the index is damaged: {}; what this concerns is EIO until it is made again, at the "
      "next start or by rewind check --repair",
      what);
  try {
    Touch(root_ / kDamageMark, what);
  } catch (const std::exception& error) {
    spdlog::error("this could not be written down: {}", error.what());
  }
}

// Nobody can ask for a repair of the catalog's journal before it is read, and all volumes depend on
// it. Its copy knows as well what is in the catalog, and so does an index that was closed in order.
void StoreImpl::OpenCatalog(bool clean) {
  RecoverCatalog(clean);
  if (catalog_->last_instant() == Instant{} && !catalog_->timelines().empty()) {
    catalog_->Rewrite();  // where BeginCatalogAnew was interrupted
    index_->Flush();
  }
  catalog_->BeginCopy();
}

void StoreImpl::RecoverCatalog(bool clean) {
  const auto copied = CatalogCopy::Find(files_, root_);
  // What is wrong with its journal, if anything.
  const auto try_to = [&](bool closed) -> std::optional<Refused> {
    try {
      ReadCatalog(closed);
      if (!copied || *copied <= catalog_->last_instant()) return std::nullopt;
      return Refused(EIO, "its journal has lost what was done last");
    } catch (const IndexDamaged&) {
      throw;
    } catch (const Refused& refused) {
      if (refused.error() != EIO) throw;
      return refused;
    }
  };
  const auto flaw = try_to(clean);
  if (!flaw) return;
  spdlog::error("the catalog: {}", flaw->what());
  CheckOptions options;
  options.repair = true;
  CheckReport report;
  RepairJournal(kControlTimeline, options, &report);
  const auto left = try_to(clean);
  if (!left) return;
  if (copied && CopyIsNewEnough(*copied)) {
    TakeCatalog();
    if (const auto still = try_to(false)) throw *still;
  } else if (clean) {
    BeginCatalogAnew();
  } else {
    throw *left;
  }
}

void StoreImpl::ReadCatalog(bool clean) {
  catalog_ = std::make_unique<CatalogStore>(context_, clean);
  catalog_for_sync_ = catalog_.get();
}

// As far as can be told: than what the index covers, and what can be read of the control journal.
bool StoreImpl::CopyIsNewEnough(Instant copied) {
  const auto covered = index_->FindCovered(kControlTimeline);
  if (covered && covered->instant > copied) return false;
  JournalScanner scanner(files_, segments_->TimelineDirectory(kControlTimeline), kControlTimeline,
                         {}, {});
  while (scanner.Next()) {
  }
  return scanner.last_instant() <= copied;
}

// What is on the disk of the catalog's journal goes aside.
stdfs::path StoreImpl::SetCatalogAside() {
  const stdfs::path directory = segments_->TimelineDirectory(kControlTimeline);
  stdfs::path aside = root_ / ("catalog.damaged-" + std::to_string(clock_.Next().ns));
  catalog_for_sync_ = nullptr;
  catalog_.reset();
  if (Exists(directory)) stdfs::rename(directory, aside);
  segments_->Forget(kControlTimeline);
  return aside;
}

// From its copy, which says it all: nothing that the index says of it is needed. Whoever comes
// after a crash in the middle finds a journal that has less than the copy, and does it again.
void StoreImpl::TakeCatalog() {
  Index::Entries entries = {{CoveredKey(kControlTimeline), std::nullopt}};
  for (const KeyType type : {KeyType::kVolume, KeyType::kRemoved, KeyType::kTimeline,
                             KeyType::kMark, KeyType::kCounters}) {
    const std::string prefix(1, static_cast<char>(type));
    const auto cursor = index_->NewCursor(prefix, Index::Purpose::kScan);
    for (cursor->Seek(prefix); cursor->Valid(); cursor->Next())
      entries.emplace_back(cursor->key(), std::nullopt);
  }
  index_->Rewrite(entries);
  index_->Flush();
  const stdfs::path aside = SetCatalogAside();
  CatalogCopy::CopyTo(files_, root_, segments_->TimelineDirectory(kControlTimeline));
  spdlog::warn(
      "the catalog's journal was written anew from its copy; the damaged one was set aside as {} "
      "and is not needed any more",
      aside.string());
}

// From what the index knows, which was closed in order.
void StoreImpl::BeginCatalogAnew() {
  index_->Rewrite({{CoveredKey(kControlTimeline), std::nullopt}});
  index_->Flush();
  RaiseIndexFloor();
  // Whoever comes after a crash in the middle has to know that the index has everything.
  const auto note_clean = [this](bool clean) {
    const std::lock_guard lock(clock_file_mutex_);
    clock_file_.Write({clock_.last(), clean, index_floor_});
  };
  note_clean(true);
  const stdfs::path aside = SetCatalogAside();
  ReadCatalog(true);
  catalog_->Rewrite();
  index_->Flush();
  note_clean(false);
  spdlog::warn(
      "the catalog's journal was written anew from the index; the damaged one was set aside as {} "
      "and is not needed any more",
      aside.string());
}

bool StoreImpl::OpenIndex(const ClockFile::State& state) {
  const bool new_store =
      ListSegments(files_, segments_->TimelineDirectory(kControlTimeline)).empty();
  try {
    if (!Exists(root_ / kIndex) && Exists(root_ / kNewIndex / kComplete))
      stdfs::rename(root_ / kNewIndex, root_ / kIndex);  // where the last start was interrupted
    if (Exists(root_ / kDamageMark)) {
      std::ifstream mark(root_ / kDamageMark);
      MakeIndexAgain("damage was met: " + std::string(std::istreambuf_iterator<char>(mark), {}));
      return false;
    }
    if (!Exists(root_ / kIndex / "CURRENT")) {
      if (!new_store) throw IndexDamaged("it is not there");
      NeedNoVolumes(files_, root_ / "journal");
    }
    index_ = OpenIndexIn(root_ / kIndex);
    NeedWholeIndex();
    const bool clean = state.clean && state.index_sequence == index_->LastSequence();
    OpenCatalog(clean);
    return clean;
  } catch (const IndexDamaged& damaged) {
    RebuildIndex(damaged.what());
  }
  return false;
}

void StoreImpl::NeedWholeIndex() {
  const std::lock_guard lock(clock_file_mutex_);
  if (index_->LastSequence() < index_floor_) throw IndexDamaged("what it got last is not in it");
}

void StoreImpl::NeedRoomForIndex() {
  const uint64_t needed = Sizes().index_bytes;
  if (HaveFree(needed)) return;
  const auto mib = [](uint64_t bytes) {
    return std::to_string((bytes + kMiB - 1) / kMiB) + " MiB";
  };
  throw Refused(ENOSPC, "to make the index again takes up to " + mib(needed) +
                            ", and the disk under the data root has " + mib(FreeBytes()) +
                            " free; until there is room, what is damaged is EIO");
}

// A daemon that does not start helps nobody: the damaged index answers what it can, and EIO for the
// rest.
void StoreImpl::MakeIndexAgain(const std::string& why) {
  try {
    NeedRoomForIndex();
    RebuildIndex(why);
    return;
  } catch (const Refused& refused) {
    if (refused.error() != ENOSPC || !Exists(root_ / kIndex)) throw;
    spdlog::error("the index has to be made again ({}), and cannot be: {}", why, refused.what());
  }
  CloseIndex();
  stdfs::remove_all(root_ / kNewIndex);
  index_ = OpenIndexIn(root_ / kIndex);
  NeedWholeIndex();
  // That the catalog's journal is the one it covers, nobody knows any more.
  index_->Rewrite({{CoveredKey(kControlTimeline), std::nullopt}});
  OpenCatalog(false);
  index_damaged_ = true;
  no_room_for_index_ = true;
}

void StoreImpl::CloseIndex() {
  catalog_for_sync_ = nullptr;
  catalog_.reset();
  index_.reset();
}

void StoreImpl::RebuildIndex(const std::string& why) {
  spdlog::error("the index has to be made again: {}", why);
  CloseIndex();
  // Until that is done, the old one may not fit the catalog's journal any more.
  if (!Exists(root_ / kDamageMark)) Touch(root_ / kDamageMark, why);
  stdfs::remove_all(root_ / kNewIndex);
  for (const std::string& mended : MendTables(root_ / kIndex)) spdlog::warn(mended);
  auto salvage = IndexSalvage::Open(root_ / kIndex, root_ / kScratch);
  index_ = OpenIndexIn(root_ / kNewIndex);
  FillIndex(salvage.get());
  index_->Flush();
  CloseIndex();
  salvage.reset();
  Touch(root_ / kNewIndex / kComplete, "");
  files_->SyncDirectory(root_);  // the name of the new one, before the old one's goes
  if (Exists(root_ / kIndex)) {
    const stdfs::path aside = root_ / ("index.damaged-" + std::to_string(clock_.Next().ns));
    stdfs::rename(root_ / kIndex, aside);
    spdlog::warn("the damaged index was set aside as {}; it is not needed any more",
                 aside.string());
  }
  stdfs::rename(root_ / kNewIndex, root_ / kIndex);
  files_->SyncDirectory(root_);
  {
    const std::lock_guard lock(clock_file_mutex_);
    index_floor_ = 0;  // another index, another count
    clock_file_.Write({clock_.last(), false, index_floor_});
  }
  std::error_code ignored;
  stdfs::remove(root_ / kDamageMark, ignored);
  stdfs::remove(root_ / kIndex / kComplete, ignored);
  index_damaged_ = false;
  index_ = OpenIndexIn(root_ / kIndex);
  OpenCatalog(false);
}

void StoreImpl::FillIndex(IndexSalvage* salvage) {
  // The control journal always says everything.
  if (ListSegments(files_, segments_->TimelineDirectory(kControlTimeline)).empty())
    NeedNoVolumes(files_, root_ / "journal");
  OpenCatalog(false);
  for (const auto& [id, record] : catalog_->timelines()) {
    if (record.dropped || record.absorbed_by) continue;
    try {
      SalvageTimeline(salvage, id);
    } catch (const Refused& refused) {
      if (refused.error() == ENOSPC) throw;
      spdlog::error("timeline {}: its index is lost: {}", id, refused.what());
      index_->DropTimeline(id);
    }
  }
}

// Whether the timeline's journal holds all that was ever written to it.
bool StoreImpl::JournalIsWhole(TimelineId id) {
  const auto& timelines = catalog_->timelines();
  if (timelines.at(id).took_in) return false;
  for (const auto& [other, record] : timelines) {
    if (record.absorbed_by == id) return false;
  }
  uint32_t expected = 1;
  for (const uint32_t number : ListSegments(files_, segments_->TimelineDirectory(id))) {
    if (number != expected++) return false;
  }
  return true;
}

void StoreImpl::SalvageTimeline(IndexSalvage* salvage, TimelineId id) {
  const bool whole = JournalIsWhole(id);
  // The journal, or nothing: nobody knows what was in a file that is missing.
  if (salvage == nullptr || !salvage->whole()) return;
  IndexSalvage::Ranges lost;
  for (const KeyType type : kTimelineKeys) {
    const IndexSalvage::Ranges ranges = salvage->Copy(TypePrefix(type, id), index_.get());
    lost.insert(lost.end(), ranges.begin(), ranges.end());
  }
  if (whole && !lost.empty()) {
    index_->DropTimeline(id);  // the journal says it all
    return;
  }
  LostRanges ranges;
  for (const auto& [from, to] : lost) ranges.Add(from, to);
  DeriveHead(id, ranges);
  for (const auto& [from, to] : lost) {
    index_->MarkLost(from, to);
    if (from.front() != static_cast<char>(KeyType::kName)) continue;
    // What is kept of the head apart may be readable where the rest is not. Files that another
    // list names may hold what was deleted.
    const auto [head_from, head_to] = LostHeadNames(from, to);
    IndexSalvage::Ranges heads = {{head_from, head_to}};
    if (!salvage->relisted()) heads = salvage->Copy(head_from, head_to, index_.get());
    for (const auto& [first, last] : heads) index_->MarkLost(first, last);
  }
  if (!lost.empty()) {
    spdlog::error(
        "timeline {}: {} parts of its index are lost, and the journal that would say them "
        "was collected: rewind check tells what that concerns",
        id, lost.size());
  }
}

// What is kept of the head apart follows from the newest versions of the rest, unless they may be
// lost.
void StoreImpl::DeriveHead(TimelineId id, const LostRanges& lost) {
  Index::Entries entries;
  const auto put = [&](std::string key, std::string value) {
    entries.emplace_back(std::move(key), std::move(value));
    if (entries.size() < kDerivedAtOnce) return;
    index_->Rewrite(entries);
    entries.clear();
  };
  for (const KeyType type : {KeyType::kInode, KeyType::kName}) {
    const std::string prefix = TypePrefix(type, id);
    const auto cursor = index_->NewCursor(prefix, Index::Purpose::kScan);
    std::string last;  // of the newest versions
    for (cursor->Seek(prefix); cursor->Valid(); cursor->Next()) {
      const std::string_view key = cursor->key().substr(0, cursor->key().size() - kInstantBytes);
      if (key == last) continue;
      last = key;
      if (cursor->value().empty() || lost.Touch(key, cursor->key())) continue;
      if (type == KeyType::kName) {
        std::string head(key.substr(0, key.size() - 1));  // without the 0 after the name
        head.front() = static_cast<char>(KeyType::kHeadName);
        put(std::move(head), std::string(cursor->value()));
      } else if (Inode::Decode(cursor->value(), rw::InstantOf(cursor->key())).nlink == 0) {
        std::string orphan(key);
        orphan.front() = static_cast<char>(KeyType::kOrphan);
        put(std::move(orphan), "");
      }
    }
  }
  index_->Rewrite(entries);
}

void StoreImpl::CheckIsNotLost(const TimelineRecord& record) {
  if (index_->FindCovered(record.id) || JournalIsWhole(record.id)) return;
  if (record.took_in && index_->LastIno(record.id) != 0) return;  // it has done nothing since
  throw Refused(EIO, "the index of timeline " + std::to_string(record.id) +
                         " is lost, and the beginning of its journal, " +
                         segments_->TimelineDirectory(record.id).string() +
                         ", was collected: what it held cannot be told");
}

}  // namespace rw
