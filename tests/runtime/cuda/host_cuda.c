/* A CUDA driver of host memory: enough of libcuda.so.1 for pycuda and cuda-python to run our seam.
 *
 * It computes nothing. It keeps the rules that a seam can break: a context must be current, what is
 * allocated must be freed once, events and graphs must exist, captured work runs at launch only.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int CUresult;
enum { OK = 0, INVALID_VALUE = 1, NO_MEMORY = 2, INVALID_DEVICE = 101, INVALID_CONTEXT = 201, INVALID_HANDLE = 400,
       NOT_FOUND = 500, NOT_READY = 600, ILLEGAL_ADDRESS = 700 };

struct thing { int kind; size_t size; };                 /* before every allocation */
enum { MEMORY = 0x11, HOST, STREAM, EVENT, GRAPH, EXEC, GONE };
struct copy { void *to; const void *from; size_t size; int value; };
struct work { struct copy items[64]; int count; };
struct stream { struct thing head; struct work *capturing; };
struct graph { struct thing head; struct work work; };
struct event { struct thing head; int recorded; };

static __thread int depth = 0;                           /* contexts pushed in this thread */
static int live = 0, retained = 0, failing = 0, resets = 0, launches = 0;
static char context;

int hostcuda_live(void) { return live; }
int hostcuda_retained(void) { return retained; }
int hostcuda_depth(void) { return depth; }
int hostcuda_resets(void) { return resets; }
int hostcuda_launches(void) { return launches; }
void hostcuda_fail(int code) { failing = code; }

#define NEEDS_CONTEXT do { if (failing) return failing; if (depth < 1) return INVALID_CONTEXT; } while (0)

static void *make(int kind, size_t size) {
  struct thing *thing = calloc(1, size);
  thing->kind = kind; thing->size = size; live++;
  return thing;
}
static CUresult unmake(void *pointer, int kind) {
  struct thing *thing = pointer;
  if (!thing || thing->kind != kind) return INVALID_HANDLE;
  thing->kind = GONE; live--;                            /* never given to free(): use after free must show */
  return OK;
}

CUresult cuInit(unsigned flags) { return OK; }
CUresult cuDriverGetVersion(int *version) { *version = 13000; return OK; }
CUresult cuGetErrorString(CUresult code, const char **text) {
  *text = code == ILLEGAL_ADDRESS ? "an illegal memory access was encountered"
        : code == INVALID_CONTEXT ? "invalid device context" : code == NO_MEMORY ? "out of memory" : "some error";
  return OK;
}
CUresult cuGetErrorName(CUresult code, const char **text) { *text = "CUDA_ERROR"; return OK; }
CUresult cuDeviceGetCount(int *count) { *count = 1; return OK; }
CUresult cuDeviceGet(int *device, int index) { if (index) return INVALID_DEVICE; *device = 0; return OK; }
CUresult cuDeviceGetName(char *name, int size, int device) { snprintf(name, size, "Host"); return OK; }
CUresult cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = (size_t)8 << 30; return OK; }
CUresult cuDeviceGetAttribute(int *value, int attribute, int device) {
  *value = attribute == 75 ? 8 : attribute == 76 ? 7 : attribute == 18 ? 1   /* 8.7, integrated */
         : attribute == 16 ? 16 : 0;                     /* multiprocessors */
  return OK;
}
CUresult cuDeviceComputeCapability(int *major, int *minor, int device) { *major = 8; *minor = 7; return OK; }
CUresult cuDevicePrimaryCtxRetain(void **out, int device) { *out = &context; retained++; return OK; }
CUresult cuDevicePrimaryCtxRelease_v2(int device) { retained--; return OK; }
CUresult cuDevicePrimaryCtxReset_v2(int device) { resets++; failing = 0; live = 0; return OK; }
CUresult cuCtxPushCurrent_v2(void *which) { if (which != &context) return INVALID_CONTEXT; depth++; return OK; }
CUresult cuCtxPopCurrent_v2(void **out) { if (depth < 1) return INVALID_CONTEXT; depth--; if (out) *out = &context; return OK; }
CUresult cuCtxGetCurrent(void **out) { *out = depth ? &context : 0; return OK; }
CUresult cuCtxSetCurrent(void *which) { depth = which ? 1 : 0; return OK; }
CUresult cuCtxGetDevice(int *device) { *device = 0; return OK; }
CUresult cuCtxSynchronize(void) { return OK; }

CUresult cuStreamCreate(void **out, unsigned flags) { NEEDS_CONTEXT; *out = make(STREAM, sizeof(struct stream)); return OK; }
CUresult cuStreamDestroy_v2(void *stream) { return unmake(stream, STREAM); }
CUresult cuStreamSynchronize(void *stream) { NEEDS_CONTEXT; return ((struct thing *)stream)->kind == STREAM ? OK : INVALID_HANDLE; }
CUresult cuEventCreate(void **out, unsigned flags) { NEEDS_CONTEXT; *out = make(EVENT, sizeof(struct event)); return OK; }
CUresult cuEventDestroy_v2(void *event) { return unmake(event, EVENT); }
CUresult cuEventRecord(void *event, void *stream) { NEEDS_CONTEXT; ((struct event *)event)->recorded = 1; return OK; }
CUresult cuEventQuery(void *event) { NEEDS_CONTEXT; return ((struct event *)event)->recorded ? OK : NOT_READY; }
CUresult cuEventSynchronize(void *event) { NEEDS_CONTEXT; return OK; }
CUresult cuEventElapsedTime(float *ms, void *a, void *b) { *ms = 1.5f; return OK; }
CUresult cuEventElapsedTime_v2(float *ms, void *a, void *b) { *ms = 1.5f; return OK; }

static void *block(int kind, size_t size) {
  char *bytes = make(kind, sizeof(struct thing) + 64 + size);
  memset(bytes + sizeof(struct thing), 0xAB, 64 + size);
  return bytes + sizeof(struct thing);
}
CUresult cuMemAlloc_v2(uint64_t *out, size_t size) {
  NEEDS_CONTEXT;
  if (size > (size_t)4 << 30) return NO_MEMORY;
  *out = (uint64_t)block(MEMORY, size); return OK;
}
CUresult cuMemFree_v2(uint64_t address) { NEEDS_CONTEXT; return unmake((char *)address - sizeof(struct thing), MEMORY); }
CUresult cuMemHostAlloc(void **out, size_t size, unsigned flags) { NEEDS_CONTEXT; *out = block(HOST, size); return OK; }
CUresult cuMemFreeHost(void *host) { NEEDS_CONTEXT; return unmake((char *)host - sizeof(struct thing), HOST); }
CUresult cuMemHostGetDevicePointer_v2(uint64_t *out, void *host, unsigned flags) { *out = (uint64_t)host; return OK; }
CUresult cuMemGetInfo_v2(size_t *free_bytes, size_t *total) {
  NEEDS_CONTEXT; *free_bytes = (size_t)6 << 30; *total = (size_t)8 << 30; return OK;
}

static CUresult put(void *stream, struct copy item) {
  NEEDS_CONTEXT;
  struct work *work = ((struct stream *)stream)->capturing;
  if (work) { work->items[work->count++] = item; return OK; }
  if (item.from) memmove(item.to, item.from, item.size); else memset(item.to, item.value, item.size);
  return OK;
}
CUresult cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t size, void *stream) {
  return put(stream, (struct copy){(void *)to, from, size, 0});
}
CUresult cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t size, void *stream) {
  return put(stream, (struct copy){to, (void *)from, size, 0});
}
CUresult cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t size, void *stream) {
  return put(stream, (struct copy){(void *)to, (void *)from, size, 0});
}
CUresult cuMemsetD8Async(uint64_t to, unsigned char value, size_t size, void *stream) {
  return put(stream, (struct copy){(void *)to, 0, size, value});
}

CUresult cuStreamBeginCapture_v2(void *stream, int mode) {
  NEEDS_CONTEXT;
  if (mode != 1) return INVALID_VALUE;                   /* thread-local is what we ask for */
  ((struct stream *)stream)->capturing = calloc(1, sizeof(struct work));
  return OK;
}
CUresult cuStreamEndCapture(void *stream, void **out) {
  struct stream *s = stream;
  if (!s->capturing) return INVALID_VALUE;
  struct graph *graph = make(GRAPH, sizeof(struct graph));
  graph->work = *s->capturing; free(s->capturing); s->capturing = 0;
  *out = graph; return OK;
}
CUresult cuGraphInstantiateWithFlags(void **out, void *graph, unsigned long long flags) {
  struct graph *exec = make(EXEC, sizeof(struct graph));
  exec->work = ((struct graph *)graph)->work; *out = exec; return OK;
}
CUresult cuGraphLaunch(void *exec, void *stream) {
  NEEDS_CONTEXT;
  struct graph *graph = exec;
  if (graph->head.kind != EXEC) return INVALID_HANDLE;
  launches++;
  for (int i = 0; i < graph->work.count; i++) put(stream, graph->work.items[i]);
  return OK;
}
CUresult cuGraphDestroy(void *graph) { return unmake(graph, GRAPH); }
CUresult cuGraphExecDestroy(void *exec) { return unmake(exec, EXEC); }

CUresult cuGetProcAddress_v2(const char *name, void **out, int version, uint64_t flags, int *status) {
  char versioned[128];
  snprintf(versioned, sizeof versioned, "%s_v2", name);
  *out = strcmp(name, "cuGraphInstantiate") ? dlsym(RTLD_DEFAULT, versioned) : (void *)cuGraphInstantiateWithFlags;
  if (!*out) {
    Dl_info self; dladdr((void *)cuInit, &self);
    void *library = dlopen(self.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
    *out = dlsym(library, versioned);
    if (!*out) *out = dlsym(library, name);
  }
  if (status) *status = *out ? 0 : 1;
  return *out ? OK : NOT_FOUND;
}
