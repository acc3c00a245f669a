#include "cni/service/journal.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cerrno>
#include <cstdio>

#include "base/unique_fd.h"
#include "base/whole_file.h"
#include "cni/places.h"

namespace ocicat::cni {
namespace {

using Phase = Attachment::Phase;

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
    const auto ending = entry.path().extension();
    if (ending != kNoted && ending != kUnwanted) continue;  // half of a write that was cut short
    auto attachment = read_attachment(read_whole(entry.path()));
    if (!attachment) {
      unreadable.push_back(fmt::format("{}: {}", entry.path().string(), attachment.error().message));
      continue;
    }
    auto name = attachment->name();
    if (ending == kNoted) {
      journal->attachments_.insert_or_assign(std::move(name), *std::move(attachment));
    } else {
      attachment->phase = Phase::kDeleting;
      journal->attachments_.try_emplace(std::move(name),
                                        *std::move(attachment));  // what was noted since counts
    }
  }
  if (failed) return fail_errno(fmt::format("read {}", folder.string()), failed.value());
  return journal;
}

std::filesystem::path Journal::file_of(const std::string& name, std::string_view ending) const {
  return folder_ / kAttachments / (name + std::string(ending));
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
  TRY_VOID(write_whole(file_of(name, kNoted).string(), boost::json::serialize(to_json(attachment)), durable));
  const std::scoped_lock lock(mutex_);
  attachments_.insert_or_assign(name, attachment);
  return {};
}

Result<void> Journal::write_unwanted(Attachment attachment) {
  attachment.phase = Phase::kDeleting;
  auto written = write(attachment, true);
  if (written) return {};
  const bool renamed = rename_unwanted(attachment.name()).has_value();
  const std::scoped_lock lock(mutex_);
  const auto at = attachments_.find(attachment.name());
  if (at == attachments_.end() || (at->second.phase == Phase::kAdded && !renamed)) return written;
  at->second = std::move(attachment);
  return {};
}

// That takes no room on a disk. One that has that name by now, as a plugin gave it, keeps it.
Result<void> Journal::rename_unwanted(const std::string& name) const {
  const auto unwanted = file_of(name, kUnwanted);
  const bool is_new = ::rename(file_of(name, kNoted).c_str(), unwanted.c_str()) == 0;
  if (!is_new && (errno != ENOENT || ::access(unwanted.c_str(), F_OK) != 0))
    return fail_errno("rename", errno);
  const UniqueFd folder(::open((folder_ / kAttachments).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder || ::fsync(folder.get()) != 0) return fail_errno("fsync", errno);
  return {};
}

Result<void> Journal::forget(const std::string& name) {
  int error = 0;
  for (const auto ending : {kNoted, kUnwanted}) {
    if (::unlink(file_of(name, ending).c_str()) != 0 && errno != ENOENT) error = errno;
  }
  const std::scoped_lock lock(mutex_);
  const auto at = attachments_.find(name);
  if (at == attachments_.end()) return {};  // of a disk that takes nothing, not even that there was no file
  if (error == 0) {
    attachments_.erase(at);
    return {};
  }
  at->second.phase = Phase::kDeleting;
  return fail_errno(fmt::format("remove {}", file_of(name, kNoted).string()), error);
}

std::vector<std::filesystem::path> Journal::left_behind() const {
  std::vector<std::filesystem::path> files;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(folder_ / kDeletes, ignored)) {
    if (entry.path().extension() == kNoted) files.push_back(entry.path());
  }
  std::ranges::sort(files);
  return files;
}

}  // namespace ocicat::cni
