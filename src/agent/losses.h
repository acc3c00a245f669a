// Of what the kernel counts and a host's agent tells: how far it has been told, across agents.
//
//   file    a line "NAME NUMBER" each: the kernel's number up to which all was told, or told as lost. Written
//           whole, after it was told: an agent that dies leaves a little to be told twice, and none to silence
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>

namespace ocicat::agent {

// Of one number that grows in the kernel.
class Account {
 public:
  Account() = default;
  // As another agent has left it.
  explicit Account(std::int64_t settled) : settled_(settled), counted_(settled < 0 ? 0 : settled) {}

  // One of what is counted.
  void told() {
    if (settled_) ++*settled_;
  }
  // What the kernel says now. With nobody before, what had been counted by the first time is not owed. A number
  // that falls is that of a counter made anew: all of it is.
  void count(std::uint64_t now);
  // How many of those that were counted nobody has been told of: by now they are lost, and told as such.
  std::uint64_t settle();

  std::optional<std::int64_t> settled() const { return settled_; }

 private:
  // Ahead of `counted_` where what has been told is not counted yet; below zero where some of a counter that is
  // gone is owed.
  std::optional<std::int64_t> settled_;
  std::int64_t counted_ = 0;
};

class Losses {
 public:
  // What cannot be read is as if nobody had been before.
  explicit Losses(std::filesystem::path file);

  // Stays where it is.
  Account& of(const std::string& name) { return accounts_[name]; }
  // Where something has changed.
  void write();

 private:
  std::string text() const;

  std::filesystem::path file_;
  std::map<std::string, Account> accounts_;
  std::string written_;
  bool failing_ = false;  // the last time; said once
};

}  // namespace ocicat::agent
