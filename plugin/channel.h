// Messages between the daemon and its supervisor, and what the supervisor gives the daemon to begin
// with.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "plugin/kept_mount.h"

namespace rw {

struct ChannelMessage {
  // kUpgrade asks the supervisor for what `rewind upgrade` does; kRefused is its answer if it does
  // not.
  enum class Kind { kPut, kDrop, kBeat, kReady, kUpgrade, kRefused };
  Kind kind = Kind::kBeat;
  // kPut; kDrop: the key, of which all that begin with it and kKeyOfView go too; kRefused: the
  // value says why.
  KeptEntry entry;
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

std::string EncodeInheritance(const Inheritance& inheritance);
// Throws what parsing throws.
Inheritance DecodeInheritance(const std::string& text);

// Before exec: its descriptors pass; or do not any more.
void LetPass(const Inheritance& inheritance);
void KeepFromPassing(const Inheritance& inheritance);

// What is in the memory whose descriptor the environment names; takes both. Nothing if it names
// none.
std::optional<std::string> TakeMemory(const char* variable);

// Of this process; nothing if no supervisor has started it. Can be taken once.
std::optional<Inheritance> TakeInheritance();
// The descriptor of the memory with the encoded text is named here.
inline constexpr char kInheritanceVariable[] = "REWIND_INHERITANCE";

}  // namespace rw
