// What libfuse does not pass on of a request, read from its raw bytes.
#pragma once

#include <cstddef>
#include <cstdint>

namespace rw {

// Of the request that this thread is working on.
struct RawRequest {
  uint32_t opcode = 0;
  uint64_t unique = 0;          // the same however often the kernel sends it
  bool resent = false;          // an earlier daemon has received it too, and may have done it
  bool kill_suid_sgid = false;  // of a write or a change of size: FUSE_HANDLE_KILLPRIV_V2
  bool from_cache = false;      // of a write: the kernel had it in its cache before it asked
  bool kill_sgid = false;       // of a new ACL: FUSE_SETXATTR_EXT
  bool unnamed = false;         // of a create: O_TMPFILE
};

// `agreed`: the flags that both sides of INIT have set. What libfuse 3.14 does not know is put into
// words that it does: O_TMPFILE becomes a create, the longer form of setxattr the shorter one; so
// `bytes` and `size` may change (NeedsTranslation).
RawRequest TranslateRequest(void* bytes, size_t* size, uint32_t agreed);

// Set before a request is handed to libfuse; handlers run on the same thread.
RawRequest& CurrentRequest();

// Whether TranslateRequest would change the request's bytes.
bool NeedsTranslation(const void* bytes, size_t size);

// libfuse 3.14 cannot ask for FUSE_HANDLE_KILLPRIV_V2, without which the kernel asks for
// security.capability before each write, nor for FUSE_SETXATTR_EXT and FUSE_HAS_RESEND. Given the
// kernel's INIT request and libfuse's reply to it, adds the flags if the kernel offers them.
struct InitExchange {
  uint64_t unique = 0;
  uint64_t offered = 0;
  void SawRequest(const void* bytes, size_t size);
  // Whether the kernel sends again, when asked to, what was received and not answered (since 6.9).
  bool resends() const;
  // Returns the lower half of the flags that are agreed now; 0 if this is not the reply.
  uint32_t EditReply(void* header, size_t header_size, void* body, size_t body_size) const;
};

// Whether it is a request that nobody has received before and that waits for an answer.
bool IsNewAndWaits(const void* bytes, size_t size);

// Asks the kernel to send again what was received through this descriptor and not answered. False
// if it cannot.
bool AskToResend(int fd);
// Whether the kernel knows the inode. What it cannot be asked about counts as known.
bool KernelKnows(int fd, uint64_t node_id);

}  // namespace rw
