// The attachments of a host, a file each, so that none is forgotten whatever dies.
//
//   form     FOLDER/attachments/CONTAINER@INTERFACE.json (to_json of an Attachment); written beside and
//            renamed, so that each is whole; or .unwanted, there or on memory (places.h)
//   threads  any number
#pragma once

#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "cni/attachment.h"
#include "cni/places.h"

namespace ocicat::cni {

class Journal {
 public:
  // Makes the folders where they are missing. A file that cannot be read is named to `unreadable`, and stays.
  static Result<std::unique_ptr<Journal>> open(const std::filesystem::path& folder,
                                               std::vector<std::string>& unreadable);

  std::optional<Attachment> find(const std::string& name) const;
  std::vector<Attachment> all() const;
  // Whether another attachment that is wanted has the same interface on the host.
  bool has_rival(const Attachment& attachment) const;
  // Another than that of the name.
  std::optional<Attachment> holder_of(const IpAddress& address, const std::string& name) const;

  // `durable`: it outlives the loss of power as well.
  Result<void> write(const Attachment& attachment, bool durable);
  // Durable, before anything of it is made. What plugins left of its name was about one before it, and is gone then.
  Result<void> write_first(const Attachment& attachment);
  // Nobody wants it any more. Where that cannot be written its file has another name from then on, or it is written on
  // memory. It cannot fail for one that is noted as half made, which the next agent takes back anyway.
  Result<void> write_unwanted(Attachment attachment);
  // Where its file cannot be removed it is unwanted.
  Result<void> forget(const std::string& name);

  // What plugins left that found no agent; each is gone once it is taken over into an attachment (or write_first()).
  std::vector<std::filesystem::path> left_behind() const;

 private:
  explicit Journal(const std::filesystem::path& folder) : folder_(folder), memory_(memory_of(folder)) {}
  Result<void> read(const std::filesystem::path& folder, std::vector<std::string>& unreadable);
  std::filesystem::path file_of(const std::string& name, std::string_view ending) const;
  std::filesystem::path file_on_memory(const std::string& name) const;
  Result<void> rename_unwanted(const std::string& name) const;
  Result<void> write_on_memory(const Attachment& attachment) const;

  const std::filesystem::path folder_, memory_;
  mutable std::mutex mutex_;  // of the map alone: whoever writes an attachment has its turn
  std::map<std::string, Attachment> attachments_;
};

}  // namespace ocicat::cni
