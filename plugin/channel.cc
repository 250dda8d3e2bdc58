#include "plugin/channel.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>

namespace rw {
namespace {

using nlohmann::json;

constexpr size_t kMaxDescriptors = 2;

std::vector<int> ReceivedDescriptors(msghdr* header) {
  std::vector<int> descriptors;
  for (cmsghdr* part = CMSG_FIRSTHDR(header); part != nullptr; part = CMSG_NXTHDR(header, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    descriptors.resize((part->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    std::memcpy(descriptors.data(), CMSG_DATA(part), descriptors.size() * sizeof(int));
  }
  return descriptors;
}

void SetCloseOnExec(int descriptor, bool close_on_exec) {
  fcntl(descriptor, F_SETFD, close_on_exec ? FD_CLOEXEC : 0);
}

template <typename Fn>
void ForEachDescriptor(const Inheritance& inheritance, Fn fn) {
  fn(inheritance.channel);
  fn(inheritance.listening);
  for (const KeptEntry& entry : inheritance.entries) {
    for (const int descriptor : entry.descriptors) fn(descriptor);
  }
}

}  // namespace

bool SendMessage(int channel, const ChannelMessage& message, bool wait) {
  std::string text = json{{"kind", static_cast<int>(message.kind)},
                          {"key", message.entry.key},
                          {"value", message.entry.value}}
                         .dump();
  iovec part{text.data(), text.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kMaxDescriptors * sizeof(int))> control{};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  if (const size_t bytes = message.entry.descriptors.size() * sizeof(int); bytes > 0) {
    header.msg_control = control.data();
    header.msg_controllen = CMSG_SPACE(bytes);
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(bytes);
    std::memcpy(CMSG_DATA(rights), message.entry.descriptors.data(), bytes);
  }
  ssize_t sent = 0;
  do {
    sent = sendmsg(channel, &header, MSG_NOSIGNAL | (wait ? 0 : MSG_DONTWAIT));
  } while (sent < 0 && errno == EINTR);
  return sent >= 0;
}

std::optional<ChannelMessage> ReceiveMessage(int channel) {
  const ssize_t size = recv(channel, nullptr, 0, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);
  if (size <= 0) return std::nullopt;
  std::string text(static_cast<size_t>(size), '\0');
  iovec part{text.data(), text.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kMaxDescriptors * sizeof(int))> control{};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  const ssize_t received = recvmsg(channel, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (received <= 0) return std::nullopt;
  text.resize(static_cast<size_t>(received));
  const json value = json::parse(text, nullptr, false);
  ChannelMessage message;
  message.entry.descriptors = ReceivedDescriptors(&header);
  if (!value.is_object()) return message;
  message.kind = static_cast<ChannelMessage::Kind>(value.value("kind", 0));
  message.entry.key = value.value("key", "");
  message.entry.value = value.value("value", "");
  return message;
}

std::string EncodeInheritance(const Inheritance& inheritance) {
  json entries = json::array();
  for (const KeptEntry& entry : inheritance.entries) {
    entries.push_back(
        {{"key", entry.key}, {"value", entry.value}, {"descriptors", entry.descriptors}});
  }
  return json{{"channel", inheritance.channel},
              {"listening", inheritance.listening},
              {"supervisor", inheritance.supervisor},
              {"entries", entries}}
      .dump();
}

Inheritance DecodeInheritance(const std::string& text) {
  const json value = json::parse(text);
  Inheritance inheritance;
  inheritance.channel = value.at("channel").get<int>();
  inheritance.listening = value.at("listening").get<int>();
  inheritance.supervisor = value.at("supervisor").get<int>();
  for (const json& entry : value.at("entries")) {
    inheritance.entries.push_back({entry.at("key").get<std::string>(),
                                   entry.at("value").get<std::string>(),
                                   entry.at("descriptors").get<std::vector<int>>()});
  }
  KeepFromPassing(inheritance);
  return inheritance;
}

void LetPass(const Inheritance& inheritance) {
  ForEachDescriptor(inheritance, [](int descriptor) { SetCloseOnExec(descriptor, false); });
}

void KeepFromPassing(const Inheritance& inheritance) {
  ForEachDescriptor(inheritance, [](int descriptor) { SetCloseOnExec(descriptor, true); });
}

std::optional<std::string> TakeMemory(const char* variable) {
  const char* const value = std::getenv(variable);
  if (value == nullptr) return std::nullopt;
  const int memory = std::atoi(value);
  unsetenv(variable);
  std::string text;
  std::array<char, 65536> buffer{};
  for (ssize_t got = 0;
       (got = pread(memory, buffer.data(), buffer.size(), static_cast<off_t>(text.size()))) > 0;) {
    text.append(buffer.data(), static_cast<size_t>(got));
  }
  close(memory);
  return text;
}

std::optional<Inheritance> TakeInheritance() {
  const std::optional<std::string> text = TakeMemory(kInheritanceVariable);
  if (!text) return std::nullopt;
  return DecodeInheritance(*text);
}

}  // namespace rw
