// Messages from the daemon to its supervisor, and what the supervisor gives the daemon to begin
// with.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "plugin/kept_mount.h"

namespace rw {

struct ChannelMessage {
  enum class Kind { kPut, kDrop, kBeat, kReady };
  Kind kind = Kind::kBeat;
  KeptEntry entry;  // kPut; kDrop: the key, of which all that begin with it and kKeyOfView go too
};

// `channel` is a socket of a SOCK_SEQPACKET pair: what was sent is received in order and whole,
// also after the sender's end. False if it could not be sent.
bool SendMessage(int channel, const ChannelMessage& message, bool wait = true);
// Does not wait; nothing if there is none, or at the end. The descriptors are the caller's.
std::optional<ChannelMessage> ReceiveMessage(int channel);

// What a daemon inherits.
struct Inheritance {
  int channel = -1;
  int listening = -1;  // the socket that requests come through
  int supervisor = 0;  // process id
  std::vector<KeptEntry> entries;
};

// To be called between fork and exec with what EncodeInheritance made before: lets the descriptors
// pass.
std::string EncodeInheritance(const Inheritance& inheritance);
void LetPass(const Inheritance& inheritance);
// Of this process; nothing if no supervisor has started it. Can be taken once.
std::optional<Inheritance> TakeInheritance();
// The descriptor of the memory with the encoded text is named here.
inline constexpr char kInheritanceVariable[] = "REWIND_INHERITANCE";

}  // namespace rw
