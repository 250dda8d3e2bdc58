// Looks at the volume's own journal.
#include "fs/scanner.h"
#include "fs/view_volume.h"

namespace rw {
namespace {

JournalledOperation Summarize(const RecordHeader& header, const RecordBody& body) {
  JournalledOperation operation;
  operation.type = header.type;
  operation.length = body.length;
  const Mutations& mutations = body.mutations;
  if (header.type == RecordType::kCreateUnnamed) {
    for (const InodeMutation& m : mutations.inodes) {
      if (m.inode && m.inode->nlink == 0) operation.ino = m.ino;
    }
  } else if (header.type == RecordType::kCreate || header.type == RecordType::kLink) {
    for (const NameMutation& m : mutations.names) operation.ino = m.ino;
  }
  for (const InodeMutation& m : mutations.inodes) {
    if (m.ino == operation.ino) operation.inode = m.inode;
  }
  return operation;
}

}  // namespace

JournalPosition ViewVolume::JournalEnd() const {
  return timeline_ == nullptr ? JournalPosition{} : timeline_->end();
}

JournalledOperations ViewVolume::JournalledSince(JournalPosition from) {
  JournalledOperations operations;
  if (timeline_ == nullptr) return operations;
  const TimelineId id = timeline_->record().id;
  // Segments in between may have been collected.
  for (const SegmentInfo& segment : context_.segments->List(id)) {
    if (segment.number < from.segment) continue;
    if (segment.number > from.segment) from = {segment.number, kSegmentHeaderBytes};
    JournalScanner scanner(context_.files, context_.segments->TimelineDirectory(id), id, from,
                           Instant{});
    while (const auto scanned = scanner.Next()) {
      if (scanned->header.unique == 0) continue;
      const RecordBody body = RecordBody::Decode(scanned->body, scanned->header.instant, id);
      operations[scanned->header.unique] = Summarize(scanned->header, body);
    }
    from = {scanner.end().segment + 1, kSegmentHeaderBytes};
  }
  return operations;
}

std::vector<Ino> ViewVolume::Unlinked() {
  if (timeline_ == nullptr) return {};
  const std::lock_guard lock(mutex());
  return {orphans_.begin(), orphans_.end()};
}

}  // namespace rw
