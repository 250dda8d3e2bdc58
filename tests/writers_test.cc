// Goal: who writes is told by what the kernel says of the process when it does, and costs nothing
// while it goes on.
// Method: this process and children of it as writers.
#include "fs/writers.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <ctime>
#include <fstream>
#include <thread>

namespace rw {
namespace {

TEST(WritersTest, AThreadIsOneOfItsProcess) {
  Writers writers;
  std::ifstream comm("/proc/self/comm");
  std::string command;
  std::getline(comm, command);
  const auto self = writers.Find(static_cast<uint32_t>(getpid()));
  ASSERT_NE(self, nullptr);
  EXPECT_EQ(self->process, static_cast<uint32_t>(getpid()));
  EXPECT_EQ(self->command, command);
  EXPECT_LE(self->started_seconds, static_cast<uint64_t>(time(nullptr)) + 1);
  EXPECT_GT(self->started_seconds, static_cast<uint64_t>(time(nullptr)) - 86'400);
  EXPECT_EQ(writers.Find(static_cast<uint32_t>(getpid())), self) << "the same object";
  std::thread([&] {
    const auto thread = writers.Find(static_cast<uint32_t>(gettid()));
    ASSERT_NE(thread, nullptr);
    EXPECT_NE(thread->thread, self->thread);
    EXPECT_EQ(thread->process, self->process);
    EXPECT_EQ(thread->command, self->command);
  }).join();
}

TEST(WritersTest, NobodyIsKnownOfWhoIsGone) {
  Writers writers;
  EXPECT_EQ(writers.Find(0), nullptr);
  const pid_t child = fork();
  if (child == 0) _exit(0);
  waitpid(child, nullptr, 0);
  EXPECT_EQ(writers.Find(static_cast<uint32_t>(child)), nullptr);
}

TEST(WritersTest, WhatWasKnownOfOneWhoIsGoneStays) {
  Writers writers;
  const pid_t child = fork();
  if (child == 0) {
    pause();
    _exit(0);
  }
  const auto known = writers.Find(static_cast<uint32_t>(child));
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  ASSERT_NE(known, nullptr);
  // Its last requests may still be under way.
  EXPECT_EQ(writers.Find(static_cast<uint32_t>(child)), known);
}

TEST(WritersTest, TheContainerIsTheInnermostIdInTheCgroup) {
  const std::string outer(64, 'a'), inner(64, 'b');
  EXPECT_EQ(ContainerInCgroup("0::/\n"), "");
  EXPECT_EQ(ContainerInCgroup("0::/system.slice/docker-" + inner + ".scope\n"), inner);
  EXPECT_EQ(ContainerInCgroup("0::/docker/" + inner + "\n"), inner);
  EXPECT_EQ(ContainerInCgroup("0::/../" + inner), inner);
  EXPECT_EQ(ContainerInCgroup("0::/docker/" + outer + "/docker/" + inner + "/init\n"), inner);
  EXPECT_EQ(ContainerInCgroup("12:pids:/docker/" + inner + "\n1:name=systemd:/docker/" + inner),
            inner);
  EXPECT_EQ(ContainerInCgroup("0::/user.slice/user-0.slice/session-c1.scope\n"), "");
  EXPECT_EQ(ContainerInCgroup("0::/" + std::string(65, 'a') + "\n"), "") << "no id is so long";
}

}  // namespace
}  // namespace rw
