// What libfuse does not pass on of a request, read from its raw bytes.
#pragma once

#include <cstddef>
#include <cstdint>

namespace rw {

// Of the request that this thread is working on.
struct RawRequest {
  uint32_t opcode = 0;
  uint64_t unique = 0;
  bool kill_suid_sgid = false;  // of a write or a change of size: FUSE_HANDLE_KILLPRIV_V2
};

RawRequest ParseRawRequest(const void* bytes, size_t size);

// Set before a request is handed to libfuse; handlers run on the same thread.
RawRequest& CurrentRequest();

// libfuse 3.14 cannot ask for FUSE_HANDLE_KILLPRIV_V2, without which the kernel asks for
// security.capability before each write. Given the kernel's INIT request and libfuse's reply to it,
// adds the flag if the kernel offers it.
struct InitExchange {
  uint64_t unique = 0;
  uint32_t offered = 0;
  void SawRequest(const void* bytes, size_t size);
  void EditReply(void* header, size_t header_size, void* body, size_t body_size) const;
};

}  // namespace rw
