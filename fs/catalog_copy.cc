#include "fs/catalog_copy.h"

#include <spdlog/spdlog.h>

#include "metadata/refused.h"

namespace rw {
namespace {

constexpr TimelineId kTimeline = 0;  // whose records it holds
constexpr uint64_t kSegmentBytes = 1 << 20;

std::filesystem::path CopyIn(const std::filesystem::path& root) { return root / "catalog.copy"; }

}  // namespace

CatalogCopy::CatalogCopy(FileLayer* files, std::filesystem::path root)
    : files_(files), root_(std::move(root)) {}

void CatalogCopy::Begin(Instant at, const Mutations& all) {
  const std::filesystem::path made = root_ / "catalog.copy.new";
  try {
    journal_.reset();
    files_->RemoveWithFiles(made);
    {
      Journal journal(files_, made, kTimeline, {}, {}, true, [](const ScannedRecord&) {});
      journal.LimitSegments(kSegmentBytes);
      RecordBody body;
      body.mutations = all;
      journal.Append(RecordType::kCatalog, at, 0, body.Encode(at, kTimeline), {});
      journal.Sync();
    }
    files_->RemoveWithFiles(CopyIn(root_));
    files_->Rename(made, CopyIn(root_));
    files_->SyncDirectory(root_);
    journal_ = std::make_unique<Journal>(files_, CopyIn(root_), kTimeline, JournalPosition{},
                                         Instant{}, true, [](const ScannedRecord&) {});
    journal_->LimitSegments(kSegmentBytes);
  } catch (const Refused& refused) {
    GiveUp(refused.what());
  }
}

bool CatalogCopy::Append(Instant at, const Mutations& change) {
  if (journal_ == nullptr) return false;
  try {
    RecordBody body;
    body.mutations = change;
    journal_->Append(RecordType::kCatalog, at, 0, body.Encode(at, kTimeline), {});
    journal_->Sync();
  } catch (const Refused& refused) {
    GiveUp(refused.what());
  }
  return journal_ != nullptr;
}

// One that lacks a change must not be taken for the catalog.
void CatalogCopy::GiveUp(const char* why) {
  spdlog::warn("the catalog has no copy for now: {}", why);
  journal_.reset();
  try {
    files_->RemoveWithFiles(CopyIn(root_));
    files_->SyncDirectory(root_);
  } catch (const Refused& refused) {
    spdlog::error("the catalog's copy, which is old now, could not be removed: {}", refused.what());
  }
}

std::optional<CatalogCopy::Contents> CatalogCopy::Read(FileLayer* files,
                                                       const std::filesystem::path& root) {
  try {
    if (ListSegments(files, CopyIn(root)).empty()) return std::nullopt;
    JournalScanner scanner(files, CopyIn(root), kTimeline, {}, {}, {});
    Contents contents;
    while (const auto record = scanner.Next()) {
      contents.at = record->header.instant;
      const RecordBody body = RecordBody::Decode(record->body, contents.at, kTimeline);
      contents.changes.insert(contents.changes.end(), body.mutations.catalog.begin(),
                              body.mutations.catalog.end());
    }
    if (contents.changes.empty() || scanner.LaterRecordsProveDamage()) return std::nullopt;
    return contents;
  } catch (const Refused&) {
    return std::nullopt;
  }
}

}  // namespace rw
