#include "fs/request_board.h"

#include <errno.h>
#include <linux/fuse.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "metadata/refused.h"

namespace rw {
namespace {

constexpr size_t kBoardBytes = sizeof(RequestBoard::Slot) * RequestBoard::kSlots;

static_assert(std::atomic<uint64_t>::is_always_lock_free);
static_assert(sizeof(fuse_out_header) == RequestBoard::kReplyHeaderBytes);

// In place of a request's: the slot only says where the journal ended.
constexpr uint32_t kLengthOfMark = 1;

// Of the request in the slot; 0 if there is none.
uint32_t LengthOf(const RequestBoard::Slot& slot) {
  fuse_in_header header;
  std::memcpy(&header, slot.request.data(), sizeof(header));
  return header.len;
}

}  // namespace

void RequestBoard::Slot::Begin(JournalPosition end) {
  journal_end.store(uint64_t{end.segment} << 32 | end.offset, std::memory_order_relaxed);
  stage.store(kWorking, std::memory_order_release);
}

void RequestBoard::Slot::Answer(const void* header) {
  fuse_in_header asked;
  fuse_out_header answered;
  std::memcpy(&asked, request.data(), sizeof(asked));
  std::memcpy(&answered, header, sizeof(answered));
  // Else it is libfuse's, of an interrupt that it did not know what to do with.
  if (answered.unique != asked.unique) return;
  std::memcpy(answer.data(), header, answer.size());
  stage.store(kAnswering, std::memory_order_release);
}

void RequestBoard::Slot::Clear() {
  // In this order: a request that was not begun counts as one to be done.
  std::memset(request.data(), 0, sizeof(fuse_in_header));
  stage.store(kIdle, std::memory_order_release);
}

RequestBoard::RequestBoard() : fd_(memfd_create("rewind-requests", MFD_CLOEXEC)) {
  if (fd_ < 0) throw Refused(errno, "no memory for a mount's requests");
  if (ftruncate(fd_, kBoardBytes) != 0) {
    const int error = errno;
    close(fd_);
    throw Refused(error, "no memory for a mount's requests");
  }
  Map();
}

RequestBoard::RequestBoard(int fd) : fd_(fd) {
  struct stat status {};
  if (fstat(fd_, &status) != 0 || static_cast<size_t>(status.st_size) != kBoardBytes) {
    close(fd_);
    throw Refused(EPROTO, "the requests of a mount are kept in another version's way");
  }
  Map();
}

void RequestBoard::Map() {
  void* memory = mmap(nullptr, kBoardBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0);
  if (memory == MAP_FAILED) {
    const int error = errno;
    close(fd_);
    throw Refused(error, "no memory for a mount's requests");
  }
  slots_ = {static_cast<Slot*>(memory), kSlots};
}

RequestBoard::~RequestBoard() {
  munmap(slots_.data(), kBoardBytes);
  close(fd_);
}

RequestBoard::Slot& RequestBoard::Prepare(size_t thread) {
  Slot& slot = slots_[thread];
  slot.Clear();
  constexpr size_t kPageBytes = 4096;
  for (size_t at = 0; at < slot.request.size(); at += kPageBytes) {
    *const_cast<volatile char*>(slot.request.data() + at) = 0;
  }
  return slot;
}

void RequestBoard::GiveBack(size_t thread) {
  Slot& slot = slots_[thread];
  slot.Clear();
  // Where this cannot be done the memory stays.
  madvise(slot.request.data(), slot.request.size(), MADV_REMOVE);
}

bool RequestBoard::IsIdle(size_t thread) const {
  return slots_[thread].stage.load(std::memory_order_relaxed) == Slot::kIdle;
}

std::vector<RequestBoard::Leftover> RequestBoard::Leftovers() const {
  std::vector<Leftover> leftovers;
  for (size_t i = 0; i < kSlots; ++i) {
    const Slot& slot = slots_[i];
    const size_t length = LengthOf(slot);
    if (length < sizeof(fuse_in_header) || length > kBufferBytes) continue;
    Leftover leftover{i, {slot.request.data(), length}, std::nullopt};
    if (slot.stage.load(std::memory_order_acquire) == Slot::kAnswering)
      leftover.answer = std::string(slot.answer.data(), slot.answer.size());
    leftovers.push_back(std::move(leftover));
  }
  return leftovers;
}

std::optional<JournalPosition> RequestBoard::EarliestEnd() const {
  std::optional<uint64_t> earliest;
  for (const Slot& slot : slots_) {
    if (slot.stage.load(std::memory_order_acquire) == Slot::kIdle || LengthOf(slot) == 0) continue;
    const uint64_t end = slot.journal_end.load(std::memory_order_relaxed);
    earliest = std::min(earliest.value_or(end), end);
  }
  if (!earliest) return std::nullopt;
  return JournalPosition{static_cast<uint32_t>(*earliest >> 32), static_cast<uint32_t>(*earliest)};
}

void RequestBoard::BeginAll(JournalPosition end) {
  bool begun = false;
  for (Slot& slot : slots_) {
    if (LengthOf(slot) == 0) continue;
    if (slot.stage.load(std::memory_order_acquire) == Slot::kIdle) slot.Begin(end);
    begun = true;
  }
  if (begun) return;
  // In this order: a length that no request has means nothing before the slot is begun.
  slots_[0].Begin(end);
  fuse_in_header mark{};
  mark.len = kLengthOfMark;
  std::memcpy(slots_[0].request.data(), &mark, sizeof(mark));
}

void RequestBoard::Clear(size_t slot) { slots_[slot].Clear(); }

void RequestBoard::ClearAll() {
  for (size_t i = 0; i < kSlots; ++i) GiveBack(i);
}

}  // namespace rw
