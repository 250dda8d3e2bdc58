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
  bool from_cache = false;      // of a write: the kernel had it in its cache before it asked
  bool kill_sgid = false;       // of a new ACL: FUSE_SETXATTR_EXT
  bool unnamed = false;         // of a create: O_TMPFILE
};

// `agreed`: the flags that both sides of INIT have set. What libfuse 3.14 does not know is put into
// words that it does: O_TMPFILE becomes a create, the longer form of setxattr the shorter one; so
// `bytes` and `size` may change.
RawRequest TranslateRequest(void* bytes, size_t* size, uint32_t agreed);

// Set before a request is handed to libfuse; handlers run on the same thread.
RawRequest& CurrentRequest();

// libfuse 3.14 cannot ask for FUSE_HANDLE_KILLPRIV_V2, without which the kernel asks for
// security.capability before each write, nor for FUSE_SETXATTR_EXT. Given the kernel's INIT request
// and libfuse's reply to it, adds the flags if the kernel offers them.
struct InitExchange {
  uint64_t unique = 0;
  uint32_t offered = 0;
  void SawRequest(const void* bytes, size_t size);
  // Returns all flags that are agreed now; 0 if this is not the reply.
  uint32_t EditReply(void* header, size_t header_size, void* body, size_t body_size) const;
};

}  // namespace rw
