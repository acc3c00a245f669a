#include "agent/losses.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <sstream>
#include <utility>

#include "base/whole_file.h"

namespace ocicat::agent {

void Account::count(std::uint64_t number) {
  const auto now = static_cast<std::int64_t>(number);
  if (!settled_) {
    settled_ = now;
  } else if (now < counted_) {
    *settled_ -= counted_;
  }
  counted_ = now;
}

std::uint64_t Account::settle() {
  if (!settled_ || *settled_ >= counted_) return 0;
  return static_cast<std::uint64_t>(counted_ - std::exchange(*settled_, counted_));
}

Losses::Losses(std::filesystem::path file) : file_(std::move(file)), written_(read_whole(file_)) {
  std::istringstream lines(written_);
  std::string name;
  for (std::int64_t settled = 0; lines >> name >> settled;)
    accounts_.insert_or_assign(name, Account(settled));
}

std::string Losses::text() const {
  std::string text;
  for (const auto& [name, account] : accounts_) {
    if (const auto settled = account.settled()) text += fmt::format("{} {}\n", name, *settled);
  }
  return text;
}

void Losses::write() {
  auto now = text();
  if (now == written_) return;
  const auto done = write_whole(file_, now, false);
  if (!done && !failing_) spdlog::warn("flows: {}", done.error().message);
  failing_ = !done;
  written_ = std::move(now);
}

}  // namespace ocicat::agent
