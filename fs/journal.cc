#include "fs/journal.h"

#include <errno.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <utility>

#include "fs/figures.h"
#include "metadata/coding.h"
#include "metadata/refused.h"

namespace rw {
namespace {

constexpr uint64_t kPageBytes = 4096;
constexpr std::array<char, kPageBytes> kZeros{};
constexpr const char* kNoteName = "durable";
constexpr size_t kNoteBytes = 4 + 4 + 4;
// Who syncs after less than the first is waiting for the disk, not for its bandwidth: then so much
// is written ahead.
constexpr uint64_t kOftenBytes = 128 << 10;
constexpr uint64_t kAheadBytes = 256 << 10;

// Segments double from small to large, so that an empty volume stays small and a large one has few
// files.
uint64_t PlannedCapacity(uint32_t number, uint64_t max) {
  return std::min(max, kMinSegmentBytes << std::min<uint32_t>(number - 1, 20));
}

uint64_t NeededCapacity(uint64_t record_bytes) {
  const uint64_t needed = kSegmentHeaderBytes + record_bytes + kRecordHeaderBytes;
  return (needed + kMinSegmentBytes - 1) / kMinSegmentBytes * kMinSegmentBytes;
}

// Allocates `planned` bytes, or fewer on a disk that is nearly full, but at least `needed`; returns
// how many.
uint64_t AllocateWhatFits(File* file, uint64_t planned, uint64_t needed) {
  for (uint64_t capacity = std::max(planned, needed);; capacity = std::max(capacity / 2, needed)) {
    try {
      file->Allocate(capacity);
      return capacity;
    } catch (const Refused& refused) {
      if (refused.error() != ENOSPC || capacity == needed) throw;
      file->Truncate(0);  // a part may have been allocated
    }
  }
}

iovec Part(std::string_view bytes) { return {const_cast<char*>(bytes.data()), bytes.size()}; }

}  // namespace

Journal::Journal(FileLayer* files, std::filesystem::path directory, TimelineId timeline,
                 JournalPosition from, Instant after, bool clean,
                 const std::function<void(const ScannedRecord&)>& replay)
    : files_(files), directory_(std::move(directory)), timeline_(timeline) {
  files_->MakeDirectory(directory_);
  files_->SyncDirectory(
      directory_.parent_path());  // it must not vanish once its records are promised
  // Whatever is replayed goes into the index, which may not get ahead of the journal.
  if (!clean) SyncSegmentsFrom(from.segment);
  // Before anything is replayed: the index would say next time that it covers what was replayed.
  const std::vector<uint32_t> numbers = ListSegments(files_, directory_);
  if (timeline_ != 0 && from.segment == 0 && !numbers.empty() && numbers.front() != 1) {
    throw Refused(EIO, "the index of journal " + directory_.string() +
                           " is lost, and the journal's beginning was collected");
  }
  const JournalPosition noted = ReadNote();
  JournalScanner scanner(files_, directory_, timeline_, from, after, noted);
  while (const auto record = scanner.Next()) replay(*record);
  last_instant_ = scanner.last_instant();
  const JournalPosition end = scanner.end();
  const bool sealed = scanner.sealed();
  if (scanner.LaterRecordsProveDamage()) {
    throw Refused(EIO, "damaged journal: " + (directory_ / SegmentFileName(end.segment)).string() +
                           " at byte " + std::to_string(end.offset) + ", sound records follow");
  }
  if (noted > end) {
    throw Refused(EIO, "damaged journal: " + (directory_ / SegmentFileName(end.segment)).string() +
                           " at byte " + std::to_string(end.offset) +
                           ", what lay there had reached the disk");
  }
  RemoveSegmentsAfter(end.segment);
  if (end.segment != 0 && !sealed) {
    current_ = files_->Open(directory_ / SegmentFileName(end.segment), FileLayer::Mode::kReadWrite);
    std::string header(kSegmentHeaderBytes, '\0');
    header.resize(current_->ReadAt(header, 0));
    current_header_ = SegmentHeader::Decode(header).value();
    capacity_ = current_->Size();
    if (!clean) EraseTornTail(end.offset);
  }
  appended_ = Pack(end);
  durable_ = Pack(end);
  if (current_ != nullptr) ReadTail();
}

Journal::Journal(FileLayer* files, std::filesystem::path directory, TimelineId timeline,
                 uint32_t last)
    : files_(files), directory_(std::move(directory)), timeline_(timeline), full_size_(true) {
  appended_ = durable_ = Pack({last, 0});
}

Journal::~Journal() {
  try {
    // Else the next one may find there what was refused.
    if (unerased_) EraseUnerased();
  } catch (const Refused&) {
    // What was answered with an error may have been done: nobody can know.
  }
}

// 12 bytes, rewritten in place: a segment, an offset, a checksum. What does not check out counts as
// absent.
JournalPosition Journal::ReadNote() const {
  std::string bytes(kNoteBytes, '\0');
  try {
    const auto file = files_->Open(directory_ / kNoteName, FileLayer::Mode::kRead);
    if (file->ReadAt(bytes, 0) != kNoteBytes) return {};
  } catch (const Refused& refused) {
    if (refused.error() != ENOENT) throw;
    return {};
  }
  if (GetFixed<uint32_t>(bytes.data() + 8) != FrameChecksum(bytes.substr(0, 8), timeline_, 0))
    return {};
  return {GetFixed<uint32_t>(bytes.data()), GetFixed<uint32_t>(bytes.data() + 4)};
}

void Journal::NoteDurable() {
  const uint64_t durable = durable_.load(std::memory_order_acquire);
  if (durable == noted_ || broken_) return;
  const JournalPosition position = Unpack(durable);
  std::string bytes;
  PutFixed(&bytes, position.segment);
  PutFixed(&bytes, position.offset);
  PutFixed(&bytes, FrameChecksum(bytes, timeline_, 0));
  const iovec part = Part(bytes);
  const auto path = directory_ / kNoteName;
  try {
    std::unique_ptr<File> file;
    try {
      file = files_->Open(path, FileLayer::Mode::kReadWrite);
    } catch (const Refused& refused) {
      if (refused.error() != ENOENT) throw;
      file = files_->Open(path, FileLayer::Mode::kCreate);
    }
    file->WriteAt({&part, 1}, 0);
    noted_ = durable;
  } catch (const Refused&) {
    // It can be done without: on a full disk, say.
  }
}

void Journal::SyncSegmentsFrom(uint32_t first) {
  for (const uint32_t number : ListSegments(files_, directory_)) {
    if (number >= first)
      files_->Open(directory_ / SegmentFileName(number), FileLayer::Mode::kReadWrite)->SyncData();
  }
  files_->SyncDirectory(directory_);
}

void Journal::RemoveSegmentsAfter(uint32_t last) {
  // They follow a torn record, or were just being made: nothing in them was kept. The later ones go
  // first, and for good: segments without those before them were left by a collection.
  std::vector<uint32_t> numbers = ListSegments(files_, directory_);
  for (; !numbers.empty() && numbers.back() > last; numbers.pop_back()) {
    files_->Remove(directory_ / SegmentFileName(numbers.back()));
    files_->SyncDirectory(directory_);
  }
}

void Journal::EraseTornTail(uint32_t end) {
  // What is torn must not come back as a record when later ones are written over its beginning.
  std::vector<char> buffer(1 << 20);
  for (uint64_t at = end; at < capacity_; at += buffer.size()) {
    const size_t got = current_->ReadAt(buffer, at);
    if (std::all_of(buffer.begin(), buffer.begin() + static_cast<ptrdiff_t>(got),
                    [](char c) { return c == 0; }))
      continue;
    current_->Zero(end, capacity_ - end);
    current_->SyncData();
    return;
  }
}

void Journal::CheckUsable() const {
  if (broken_) throw Refused(EIO, "journal " + directory_.string() + " failed earlier; reopen it");
}

Journal::Appended Journal::Append(RecordType type, Instant instant, uint64_t unique,
                                  std::string_view body, std::span<const char> data) {
  CheckUsable();
  if (unerased_) EraseUnerased();
  RecordHeader header;
  header.type = type;
  header.body_bytes = static_cast<uint32_t>(body.size());
  header.data_bytes = static_cast<uint32_t>(data.size());
  header.instant = instant;
  header.unique = unique;
  const uint64_t total = header.TotalBytes();
  if (total > kMaxSegmentBytes / 2) throw Refused(EFBIG, "operation too large for one record");
  if (current_ == nullptr || end().offset + total + kRecordHeaderBytes > capacity_)
    Roll(total, instant);

  const JournalPosition at = end();
  header.generation = current_header_.generation;
  header.durable = Unpack(durable_.load(std::memory_order_relaxed));
  const std::string head = EncodeRecordHeader(header, body, at.offset);
  WriteAhead(at.offset + total);
  const uint32_t first_frame = at.offset + header.frames_offset();

  std::vector<uint32_t> checksums;
  std::vector<iovec> parts;
  const size_t frames = (data.size() + kFrameDataBytes - 1) / kFrameDataBytes;
  checksums.reserve(frames);
  parts.reserve(2 + 2 * frames);
  parts.push_back(Part(head));
  const std::string_view bytes(data.data(), data.size());
  for (size_t from = 0; from < bytes.size(); from += kFrameDataBytes) {
    const std::string_view frame = bytes.substr(from, kFrameDataBytes);
    const auto place = static_cast<uint32_t>(first_frame + from / kFrameDataBytes * kFrameBytes);
    checksums.push_back(FrameChecksum(frame, header.generation, place));
    parts.push_back(Part({reinterpret_cast<const char*>(&checksums.back()), sizeof(uint32_t)}));
    parts.push_back(Part(frame));
  }
  const uint64_t unpadded = header.frames_offset() + FramedBytes(data.size());
  if (total > unpadded) parts.push_back(Part({kZeros.data(), total - unpadded}));

  try {
    WritePages(std::move(parts), at.offset, total);
  } catch (const Refused&) {
    EraseFailedWrite(at.offset, total);
    throw;
  }
  last_instant_ = instant;
  Appended appended;
  appended.record = at;
  appended.next = {at.segment, static_cast<uint32_t>(at.offset + total)};
  appended.first_frame = first_frame;
  appended.bytes = static_cast<uint32_t>(total);
  unsynced_bytes_.fetch_add(total, std::memory_order_relaxed);
  appended_.store(Pack(appended.next), std::memory_order_release);
  return appended;
}

// A sync of blocks that were allocated and never written has the filesystem note that they are
// written now, which takes as long again as the data. Zeros where there are none but zeros, or what
// a segment held that is used again, change nothing and make that one note for many syncs.
void Journal::WriteAhead(uint64_t end) {
  if (end <= written_until_ || synced_bytes_.load(std::memory_order_relaxed) > kOftenBytes ||
      unsynced_bytes_.load(std::memory_order_relaxed) > kOftenBytes)
    return;
  static const std::string zeros(kAheadBytes, '\0');
  const uint64_t from = (end + kPageBytes - 1) / kPageBytes * kPageBytes;
  if (from >= capacity_) return;
  const uint64_t bytes = std::min(kAheadBytes, capacity_ - from);
  const iovec part = Part(std::string_view(zeros).substr(0, bytes));
  try {
    current_->WriteAt({&part, 1}, from);
    written_until_ = from + bytes;
  } catch (const Refused&) {
    written_until_ = capacity_;  // it can be done without
  }
}

// The bytes before and the zeros behind the record are those that are there already, or of no
// account.
void Journal::WritePages(std::vector<iovec> record, uint64_t offset, uint64_t bytes) {
  const uint64_t end = offset + bytes;
  const uint64_t behind =
      std::min(capacity_, (end + kPageBytes - 1) / kPageBytes * kPageBytes) - end;
  const std::string before = std::move(tail_);
  // What will be the last page's, from back to front.
  std::string tail(end % kPageBytes, '\0');
  size_t left = tail.size();
  for (auto part = record.rbegin(); part != record.rend() && left > 0; ++part) {
    const size_t taken = std::min(left, part->iov_len);
    left -= taken;
    std::memcpy(tail.data() + left,
                static_cast<const char*>(part->iov_base) + part->iov_len - taken, taken);
  }
  std::memcpy(tail.data(), before.data() + before.size() - left, left);
  record.insert(record.begin(), Part(before));
  record.push_back(Part({kZeros.data(), behind}));
  try {
    current_->WriteAt(record, offset - before.size());
  } catch (const Refused&) {
    tail_ = before;
    throw;
  }
  tail_ = std::move(tail);
}

void Journal::ReadTail() {
  tail_.resize(end().offset % kPageBytes);
  if (current_->ReadAt(tail_, end().offset - tail_.size()) < tail_.size())
    throw Refused(EIO, "journal " + directory_.string() + " is shorter than its records");
}

void Journal::EraseFailedWrite(uint64_t offset, uint64_t bytes) {
  unerased_ = {offset, bytes};
  try {
    EraseUnerased();
  } catch (const Refused&) {
    // The next append tries again, before anything else.
  }
}

void Journal::EraseUnerased() {
  const auto [offset, bytes] = *unerased_;
  const uint64_t size = current_->Size();
  if (offset < size) current_->Zero(offset, std::min(bytes, size - offset));
  if (size < capacity_) current_->Allocate(capacity_);  // sealing had begun
  unerased_.reset();
}

Journal::NewSegment Journal::BeginFile(const std::filesystem::path& path, uint32_t number,
                                       uint64_t record_bytes) {
  const uint64_t planned =
      full_size_ ? max_segment_bytes_ : PlannedCapacity(number, max_segment_bytes_);
  const uint64_t needed = NeededCapacity(record_bytes);
  if (pool_ != nullptr && planned == pool_->segment_bytes() && needed <= planned) {
    try {
      if (std::shared_ptr<File> file = pool_->Take(path)) {
        const uint64_t written = file->Size();
        file->Allocate(planned);
        return {std::move(file), planned, written};
      }
    } catch (const Refused&) {
      files_->Remove(path);  // a new one may do
    }
  }
  std::shared_ptr<File> file = files_->Open(path, FileLayer::Mode::kCreate);
  try {
    const uint64_t capacity = AllocateWhatFits(file.get(), planned, needed);
    return {std::move(file), capacity, 0};
  } catch (const Refused&) {
    files_->Remove(path);
    throw;
  }
}

void Journal::Roll(uint64_t record_bytes, Instant instant) {
  if (held_back_ != nullptr && held_back_->load(std::memory_order_relaxed))
    throw Refused(ENOSPC, "the disk is full, and room is being made");
  SegmentHeader header;
  header.timeline = timeline_;
  header.number = end().segment + 1;
  header.generation = instant.ns;
  const auto path = directory_ / SegmentFileName(header.number);
  NewSegment begun;
  const std::string encoded = header.Encode();
  try {
    begun = BeginFile(path, header.number, record_bytes);
    const iovec part = Part(encoded);
    begun.file->WriteAt({&part, 1}, 0);
    // A journal without its first segment was collected: a power failure must not leave one.
    if (header.number == 1) files_->SyncDirectory(directory_);
  } catch (const Refused&) {
    if (begun.file != nullptr)
      files_->Remove(path);  // nothing has happened: the operation can be tried again
    throw;
  }
  try {
    if (current_ != nullptr) Seal();
  } catch (const Refused&) {
    files_->Remove(path);
    throw;
  }
  const std::lock_guard lock(mutex_);
  if (current_ != nullptr) sealed_unsynced_.push_back(std::move(current_));
  current_ = std::move(begun.file);
  current_header_ = header;
  tail_ = encoded;
  capacity_ = begun.capacity;
  written_until_ = begun.written;
  directory_dirty_ = true;
  appended_.store(Pack({header.number, kSegmentHeaderBytes}), std::memory_order_release);
}

void Journal::BeginSegment(Instant instant) {
  CheckUsable();
  if (unerased_) EraseUnerased();
  if (current_ != nullptr && end().offset > kSegmentHeaderBytes) Roll(0, instant);
}

void Journal::Seal() {
  RecordHeader header;
  header.type = RecordType::kSegmentEnd;
  header.instant = last_instant_;
  header.generation = current_header_.generation;
  header.durable = Unpack(durable_.load(std::memory_order_relaxed));
  const uint32_t at = end().offset;
  const std::string bytes = EncodeRecordHeader(header, {}, at);
  const iovec part = Part(bytes);
  try {
    current_->WriteAt({&part, 1}, at);
    current_->Truncate(at + kRecordHeaderBytes);
  } catch (const Refused&) {
    EraseFailedWrite(at, kRecordHeaderBytes);
    throw;
  }
}

void Journal::End() {
  if (current_ != nullptr) {
    Seal();
    const std::lock_guard lock(mutex_);
    sealed_unsynced_.push_back(std::move(current_));
  }
  Sync();
}

void Journal::Sync() {
  const uint64_t want = appended_.load(std::memory_order_acquire);
  std::unique_lock lock(mutex_);
  if (durable_.load() < want) ++waiting_;
  while (durable_.load() < want) {
    CheckUsable();
    if (syncing_) {  // somebody's sync is under way; what it does not cover, the next one will, for
                     // all who wait
      synced_.wait(lock);
      continue;
    }
    syncing_ = true;
    const uint64_t group = std::exchange(waiting_, 0);
    const auto begun = std::chrono::steady_clock::now();
    const uint64_t target = appended_.load(std::memory_order_acquire);
    const uint64_t bytes = unsynced_bytes_.exchange(0, std::memory_order_relaxed);
    std::vector<std::shared_ptr<File>> files = sealed_unsynced_;
    const size_t sealed_count = files.size();
    if (current_ != nullptr) files.push_back(current_);
    const bool sync_directory = directory_dirty_;
    directory_dirty_ = false;
    lock.unlock();
    std::exception_ptr failure;
    try {
      for (const auto& file : files) file->SyncData();
      if (sync_directory) files_->SyncDirectory(directory_);
    } catch (...) {
      failure = std::current_exception();
    }
    lock.lock();
    syncing_ = false;
    if (failure) {
      broken_ = true;
    } else {
      sealed_unsynced_.erase(sealed_unsynced_.begin(),
                             sealed_unsynced_.begin() + static_cast<ptrdiff_t>(sealed_count));
      durable_ = target;
      synced_bytes_.store(bytes, std::memory_order_relaxed);
      CountSyncGroup(group, NanosecondsSince(begun));
    }
    synced_.notify_all();
    if (failure) std::rethrow_exception(failure);
  }
}

}  // namespace rw
