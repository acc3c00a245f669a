// Ways to the server's documents, one for each thread that asks at a time, kept for the next.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "ipam/documents.h"

namespace ocicat::cni {

class DocumentsPool {
 public:
  using Open = std::function<std::unique_ptr<ipam::Documents>()>;
  explicit DocumentsPool(Open open) : open_(std::move(open)) {}

  // Given back when it is destroyed.
  class Lent {
   public:
    Lent(DocumentsPool& pool, std::unique_ptr<ipam::Documents> documents)
        : pool_(pool), documents_(std::move(documents)) {}
    ~Lent() {
      const std::scoped_lock lock(pool_.mutex_);
      pool_.idle_.push_back(std::move(documents_));
    }
    Lent(const Lent&) = delete;
    Lent& operator=(const Lent&) = delete;

    ipam::Documents& operator*() const { return *documents_; }
    ipam::Documents* operator->() const { return documents_.get(); }

   private:
    DocumentsPool& pool_;
    std::unique_ptr<ipam::Documents> documents_;
  };

  Lent lend() {
    {
      const std::scoped_lock lock(mutex_);
      if (!idle_.empty()) {
        auto documents = std::move(idle_.back());
        idle_.pop_back();
        return {*this, std::move(documents)};
      }
    }
    return {*this, open_()};
  }

 private:
  const Open open_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<ipam::Documents>> idle_;
};

}  // namespace ocicat::cni
