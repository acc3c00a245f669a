#include "cni/service/journal.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cerrno>

#include "base/whole_file.h"
#include "cni/places.h"

namespace ocicat::cni {
namespace {

using Phase = Attachment::Phase;

constexpr std::string_view kEnding = ".json";

}  // namespace

Result<std::unique_ptr<Journal>> Journal::open(const std::filesystem::path& folder,
                                               std::vector<std::string>& unreadable) {
  std::unique_ptr<Journal> journal(new Journal(folder));
  for (const auto part : {kAttachments, kDeletes}) {
    std::error_code failed;
    std::filesystem::create_directories(folder / part, failed);
    if (failed) return fail_errno(fmt::format("create {}", (folder / part).string()), failed.value());
  }
  ::chmod(folder.c_str(), 0700);
  std::error_code failed;
  for (const auto& entry : std::filesystem::directory_iterator(folder / kAttachments, failed)) {
    if (entry.path().extension() != kEnding) continue;  // half of a write that was cut short
    auto attachment = read_attachment(read_whole(entry.path()));
    if (attachment) {
      auto name = attachment->name();
      journal->attachments_.emplace(std::move(name), *std::move(attachment));
    } else {
      unreadable.push_back(fmt::format("{}: {}", entry.path().string(), attachment.error().message));
    }
  }
  if (failed) return fail_errno(fmt::format("read {}", folder.string()), failed.value());
  return journal;
}

std::filesystem::path Journal::file_of(const std::string& name) const {
  return folder_ / kAttachments / (name + std::string(kEnding));
}

std::optional<Attachment> Journal::find(const std::string& name) const {
  const std::scoped_lock lock(mutex_);
  const auto at = attachments_.find(name);
  return at == attachments_.end() ? std::nullopt : std::optional(at->second);
}

std::vector<Attachment> Journal::all() const {
  const std::scoped_lock lock(mutex_);
  std::vector<Attachment> all;
  all.reserve(attachments_.size());
  for (const auto& [name, attachment] : attachments_) all.push_back(attachment);
  return all;
}

bool Journal::has_rival(const Attachment& attachment) const {
  const std::scoped_lock lock(mutex_);
  return std::ranges::any_of(attachments_, [&](const auto& entry) {
    return entry.second.host_interface == attachment.host_interface && entry.first != attachment.name() &&
           entry.second.phase != Phase::kDeleting;
  });
}

std::optional<Attachment> Journal::holder_of(const IpAddress& address, const std::string& name) const {
  const std::scoped_lock lock(mutex_);
  for (const auto& [other, attachment] : attachments_) {
    const auto& held = attachment.addresses;
    if (other != name && std::ranges::find(held, address) != held.end()) return attachment;
  }
  return std::nullopt;
}

Result<void> Journal::write(const Attachment& attachment, bool durable) {
  const auto name = attachment.name();
  TRY_VOID(write_whole(file_of(name).string(), boost::json::serialize(to_json(attachment)), durable));
  const std::scoped_lock lock(mutex_);
  attachments_.insert_or_assign(name, attachment);
  return {};
}

Result<void> Journal::write_unwanted(Attachment attachment) {
  attachment.phase = Phase::kDeleting;
  auto written = write(attachment, true);
  if (written) return {};
  const std::scoped_lock lock(mutex_);
  const auto at = attachments_.find(attachment.name());
  if (at == attachments_.end() || at->second.phase == Phase::kAdded) return written;
  at->second = std::move(attachment);
  return {};
}

Result<void> Journal::forget(const std::string& name) {
  const auto file = file_of(name);
  const bool removed = ::unlink(file.c_str()) == 0 || errno == ENOENT;
  const int error = errno;
  const std::scoped_lock lock(mutex_);
  const auto at = attachments_.find(name);
  if (at == attachments_.end()) return {};  // of a disk that takes nothing, not even that there was no file
  if (removed) {
    attachments_.erase(at);
    return {};
  }
  at->second.phase = Phase::kDeleting;
  return fail_errno(fmt::format("remove {}", file.string()), error);
}

std::vector<std::filesystem::path> Journal::left_behind() const {
  std::vector<std::filesystem::path> files;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(folder_ / kDeletes, ignored)) {
    if (entry.path().extension() == kEnding) files.push_back(entry.path());
  }
  std::ranges::sort(files);
  return files;
}

}  // namespace ocicat::cni
