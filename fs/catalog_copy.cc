#include "fs/catalog_copy.h"

#include <spdlog/spdlog.h>

#include "metadata/refused.h"

namespace rw {
namespace {

constexpr TimelineId kTimeline = 0;  // whose records it holds
constexpr uint64_t kSegmentBytes = 1 << 20;

std::filesystem::path CopyIn(const std::filesystem::path& root) { return root / "catalog.copy"; }

std::unique_ptr<Journal> OpenJournal(FileLayer* files, const std::filesystem::path& directory) {
  auto journal = std::make_unique<Journal>(files, directory, kTimeline, JournalPosition{},
                                           Instant{}, true, [](const ScannedRecord&) {});
  journal->LimitSegments(kSegmentBytes);
  return journal;
}

void AppendAndSync(Journal* journal, Instant at, const Mutations& mutations) {
  RecordBody body;
  body.mutations = mutations;
  journal->Append(RecordType::kCatalog, at, 0, body.Encode(at, kTimeline), {});
  journal->Sync();
}

}  // namespace

CatalogCopy::CatalogCopy(FileLayer* files, std::filesystem::path root)
    : files_(files), root_(std::move(root)) {}

void CatalogCopy::Begin(Instant at, const Mutations& all) {
  const std::filesystem::path made = root_ / "catalog.copy.new";
  try {
    journal_.reset();
    files_->RemoveWithFiles(made);
    AppendAndSync(OpenJournal(files_, made).get(), at, all);
    RemoveOld();
    files_->Rename(made, CopyIn(root_));
    files_->SyncDirectory(root_);
    journal_ = OpenJournal(files_, CopyIn(root_));
  } catch (const std::exception& error) {
    GiveUp(error.what());
  }
}

bool CatalogCopy::Append(Instant at, const Mutations& change) {
  if (journal_ == nullptr) return false;
  try {
    AppendAndSync(journal_.get(), at, change);
  } catch (const std::exception& error) {
    GiveUp(error.what());
  }
  return journal_ != nullptr;
}

// One that lacks a change must not be taken for the catalog.
void CatalogCopy::GiveUp(const char* why) {
  spdlog::warn("the catalog has no copy for now: {}", why);
  journal_.reset();
  try {
    RemoveOld();
  } catch (const Refused& refused) {
    spdlog::error("the catalog's copy, which is old now, could not be removed: {}", refused.what());
  }
}

// At once, not file by file: a part of it would say that there is less than there is.
void CatalogCopy::RemoveOld() {
  const std::filesystem::path old = root_ / "catalog.copy.old";
  files_->RemoveWithFiles(old);
  if (ListSegments(files_, CopyIn(root_)).empty()) return;
  files_->Rename(CopyIn(root_), old);
  files_->SyncDirectory(root_);
  files_->RemoveWithFiles(old);
}

std::optional<Instant> CatalogCopy::Find(FileLayer* files, const std::filesystem::path& root) {
  try {
    const std::vector<uint32_t> segments = ListSegments(files, CopyIn(root));
    if (segments.empty() || segments.front() != 1) return std::nullopt;
    JournalScanner scanner(files, CopyIn(root), kTimeline, {}, {}, {});
    while (scanner.Next()) {
    }
    if (scanner.last_instant() == Instant{} || scanner.LaterRecordsProveDamage())
      return std::nullopt;
    return scanner.last_instant();
  } catch (const Refused&) {
    return std::nullopt;
  }
}

void CatalogCopy::CopyTo(FileLayer* files, const std::filesystem::path& root,
                         const std::filesystem::path& directory) {
  const std::filesystem::path made = directory.string() + ".new";
  files->RemoveWithFiles(made);
  files->MakeDirectory(made);
  for (const uint32_t number : ListSegments(files, CopyIn(root))) {
    const auto from = files->Open(CopyIn(root) / SegmentFileName(number), FileLayer::Mode::kRead);
    std::string bytes(from->Size(), '\0');
    bytes.resize(from->ReadAt(bytes, 0));
    const auto to = files->Open(made / SegmentFileName(number), FileLayer::Mode::kCreate);
    const iovec part{bytes.data(), bytes.size()};
    to->WriteAt({&part, 1}, 0);
    to->SyncData();
  }
  files->SyncDirectory(made);
  files->RemoveWithFiles(directory);
  files->Rename(made, directory);
  files->SyncDirectory(directory.parent_path());
}

}  // namespace rw
