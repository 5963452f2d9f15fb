// A preloaded allocator of aligned memory that ends the process at the first access beyond a block.
//
// torch and oneDNN allocate tensors and workspaces with `posix_memalign`. Here each block has its own pages,
// ends at the end of the last page, and lies between two gaps that are never mapped: an access outside it by
// up to a gap is fatal where it happens, not when a later `free` detects it. The bytes of the pages before a
// block, and the few after it that its alignment can cost, hold a pattern that `free` checks. Freed blocks are
// unmapped, so that later accesses are detected too.

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>

namespace {

constexpr uintptr_t first = 0x1000'0000'0000, last = 0x3000'0000'0000; // nothing else is mapped there
constexpr size_t gap = size_t{1} << 20;
constexpr unsigned char pattern = 0xA5;
uintptr_t next = first;

struct Header { // in the page before the one in which the block begins
    size_t size, mapped;
};

size_t page_size() {
    static const size_t size = sysconf(_SC_PAGESIZE);
    return size;
}

size_t rounded(size_t size, size_t to) { return (size + to - 1) / to * to; }

} // namespace

extern "C" int posix_memalign(void** result, size_t alignment, size_t size) noexcept {
    const size_t page = page_size(), wide = alignment > page ? alignment : page;
    const size_t body = rounded(rounded(size ? size : 1, alignment), page), mapped = page + body;
    const size_t taken = gap + mapped + (wide > page ? wide : 0);
    const uintptr_t from = __atomic_fetch_add(&next, taken, __ATOMIC_RELAXED);
    const uintptr_t end = (from + taken) / wide * wide;
    if (end > last) return ENOMEM;
    void* const start = reinterpret_cast<void*>(end - mapped);
    if (mmap(start, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != start)
        return ENOMEM;
    auto* const block = reinterpret_cast<unsigned char*>(end - rounded(size ? size : 1, alignment));
    auto* const pages = static_cast<unsigned char*>(start) + page;
    memset(pages, pattern, block - pages);
    memset(block + size, pattern, end - reinterpret_cast<uintptr_t>(block) - size);
    *static_cast<Header*>(start) = {size, mapped};
    mprotect(start, page, PROT_NONE);
    *result = block;
    return 0;
}

extern "C" void* aligned_alloc(size_t alignment, size_t size) noexcept {
    void* block;
    return posix_memalign(&block, alignment, size) ? nullptr : block;
}

extern "C" void* memalign(size_t alignment, size_t size) noexcept { return aligned_alloc(alignment, size); }

extern "C" void free(void* pointer) noexcept {
    const auto address = reinterpret_cast<uintptr_t>(pointer);
    if (address < first || address >= last) {
        static void (*const other)(void*) = reinterpret_cast<void (*)(void*)>(dlsym(RTLD_NEXT, "free"));
        other(pointer);
        return;
    }
    const size_t page = page_size();
    auto* const start = reinterpret_cast<unsigned char*>(address / page * page - page);
    mprotect(start, page, PROT_READ);
    const Header header = *reinterpret_cast<Header*>(start);
    const auto* const block = static_cast<unsigned char*>(pointer);
    for (const auto* at = start + page; at < block; ++at)
        if (*at != pattern) abort();
    for (const auto* at = block + header.size; at < start + header.mapped; ++at)
        if (*at != pattern) abort();
    munmap(start, header.mapped);
}
