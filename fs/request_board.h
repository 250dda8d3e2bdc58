// What a session's threads are working on, in memory that somebody else may hold too, so that a
// daemon that comes after a sudden end knows what may have been done and not answered.
//
// Each thread has a slot. It receives requests right into it, and notes where the journal ended
// before it began to work: whatever this request wrote lies after that place. A slot is cleared
// after the reply, so one that is not says that the reply may be missing.
//
// Thread safety: a slot belongs to one thread.
#pragma once

#include <sys/types.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "metadata/index.h"

namespace rw {

class RequestBoard {
 public:
  static constexpr size_t kSlots = 16;
  static constexpr size_t kBufferBytes = (1 << 20) + 4096;  // the largest write and its header
  static constexpr size_t kReplyHeaderBytes = 16;

  // Only ever in memory, and read by the same program or a later one: append, never reorder.
  struct Slot {
    enum Stage : uint32_t { kIdle = 0, kWorking = 1, kAnswering = 2 };
    std::atomic<uint32_t> stage;
    std::atomic<uint64_t> journal_end;           // segment << 32 | offset
    std::array<char, kReplyHeaderBytes> answer;  // kAnswering: all of the reply, which is a header
    alignas(4096) std::array<char, kBufferBytes> request;  // zeros at its begin: none

    void Begin(JournalPosition end);
    void Answer(const void* header);
    void Clear();
  };

  RequestBoard();                 // an empty one; throws Refused
  explicit RequestBoard(int fd);  // one that there was; takes the descriptor; throws Refused
  ~RequestBoard();
  RequestBoard(const RequestBoard&) = delete;
  RequestBoard& operator=(const RequestBoard&) = delete;

  int fd() const { return fd_; }

  // Also makes sure that all of its memory is there: a request whose receipt is interrupted by the
  // end of the process while the memory is being found is answered with EIO by the kernel.
  Slot& Prepare(size_t thread);
  // Of a thread that waits for nothing: its slot holds no request and takes no memory until it is
  // prepared again.
  void GiveBack(size_t thread);
  // It has no request that it works on.
  bool IsIdle(size_t thread) const;

  struct Leftover {
    size_t slot = 0;
    std::string request;
    std::optional<std::string> answer;
  };
  // What the earlier daemon may not have answered.
  std::vector<Leftover> Leftovers() const;
  // Where the journal ended before the first of what it had begun; nothing if it had begun nothing.
  std::optional<JournalPosition> EarliestEnd() const;
  // Who goes on with the board says where the journal ends before it does anything, so that the
  // one after it finds what it did: also of requests that were received and not begun, or that the
  // board does not show. Lasts until ClearAll.
  void BeginAll(JournalPosition end);
  void Clear(size_t slot);
  void ClearAll();  // gives all memory back, too

 private:
  void Map();

  int fd_;
  std::span<Slot> slots_;
};

}  // namespace rw
